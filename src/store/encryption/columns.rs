//! All data that is encrypted with a master key, to count it and to re-encrypt it.

use diesel::sql_types::Bool;
use serde::Serialize;

use crate::store::{
    prelude::*,
    schema::{credentials, portal_sessions, signing_keys, webhooks},
};

/// A column of encrypted data. Every such column must be listed here, because rotation and removal
/// of a master key process these columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncryptedColumn {
    SigningKeys,
    Credentials,
    PortalSessions,
    Webhooks,
    /// Previous webhook secrets, which still sign during the overlap.
    PreviousWebhookSecrets,
}

impl EncryptedColumn {
    pub const ALL: [Self; 5] =
        [Self::SigningKeys, Self::Credentials, Self::PortalSessions, Self::Webhooks, Self::PreviousWebhookSecrets];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SigningKeys => "signing keys",
            Self::Credentials => "credentials",
            Self::PortalSessions => "portal sessions",
            Self::Webhooks => "webhooks",
            Self::PreviousWebhookSecrets => "old webhook secrets",
        }
    }
}

/// An encrypted row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedRow {
    pub id: String,
    pub ciphertext: Vec<u8>,
    /// Whether the row is found by a digest that also depends on the master key, which is the case
    /// for imported keys.
    pub has_lookup_digest: bool,
}

/// Expands `$statement` for the table of an encrypted column, with the names of its id, its data
/// and its master key.
macro_rules! for_column {
    ($column:expr, $statement:ident) => {
        match $column {
            EncryptedColumn::SigningKeys => $statement!(signing_keys, kid, encrypted_private_key, master_version),
            EncryptedColumn::Credentials => $statement!(credentials, id, encrypted_secret, master_version),
            EncryptedColumn::PortalSessions => $statement!(portal_sessions, id, encrypted_secret, master_version),
            EncryptedColumn::Webhooks => $statement!(webhooks, id, encrypted_secret, master_version),
            EncryptedColumn::PreviousWebhookSecrets => {
                $statement!(webhooks, id, previous_encrypted_secret, previous_master_version)
            }
        }
    };
}

/// Returns how many rows of `column` are encrypted with the master key `version`.
pub fn count(connection: &mut Conn, column: EncryptedColumn, version: i32) -> Result<i64, StoreError> {
    macro_rules! count {
        ($table:ident, $id:ident, $data:ident, $version:ident) => {
            $table::table.filter($table::$version.eq(version)).count().load_one(connection)?
        };
    }
    Ok(for_column!(column, count))
}

/// Returns up to `limit` rows of `column` that are encrypted with the master key `version`, in the
/// order of their ids, starting after the id `after`.
pub fn list_by_master_key(
    connection: &mut Conn,
    column: EncryptedColumn,
    version: i32,
    after: &str,
    limit: i64,
) -> Result<Vec<EncryptedRow>, StoreError> {
    macro_rules! list {
        ($table:ident, $id:ident, $data:ident, $version:ident) => {
            list!($table, $id, $data, $version, false.into_sql::<Bool>())
        };
        ($table:ident, $id:ident, $data:ident, $version:ident, $has_lookup_digest:expr) => {
            $table::table
                .filter($table::$version.eq(version).and($table::$id.gt(after)).and($table::$data.is_not_null()))
                .order($table::$id)
                .limit(limit)
                .select(($table::$id, $table::$data.assume_not_null(), $has_lookup_digest))
                .load_all(connection)?
        };
    }
    let rows: Vec<(String, Vec<u8>, bool)> = if column == EncryptedColumn::Credentials {
        list!(credentials, id, encrypted_secret, master_version, credentials::lookup_digest.is_not_null())
    } else {
        for_column!(column, list)
    };
    let row = |(id, ciphertext, has_lookup_digest)| EncryptedRow { id, ciphertext, has_lookup_digest };
    Ok(rows.into_iter().map(row).collect())
}

/// The re-encrypted data of a row.
#[derive(Debug)]
pub struct ReEncryptedRow {
    pub ciphertext: Vec<u8>,
    pub version: i32,
    /// Present for a row with a lookup digest.
    pub lookup: Option<String>,
}

/// Replaces the encrypted data of `row`. Returns `false` if it was modified or deleted since it was
/// read.
pub fn replace(
    tx: &mut Tx<'_>,
    column: EncryptedColumn,
    row: &EncryptedRow,
    new: &ReEncryptedRow,
) -> Result<bool, StoreError> {
    macro_rules! replace {
        ($table:ident, $id:ident, $data:ident, $version:ident) => {{
            let unchanged = $table::table.find(&row.id).filter($table::$data.eq(&row.ciphertext));
            let data = ($table::$data.eq(&new.ciphertext), $table::$version.eq(new.version));
            diesel::update(unchanged).set(data).count_affected(tx)?
        }};
    }
    let Some(lookup) = &new.lookup else { return Ok(for_column!(column, replace) == 1) };
    // The digest changes in the same statement, so a lookup finds the row by the old or by the new
    // digest.
    let unchanged = credentials::table.find(&row.id).filter(credentials::encrypted_secret.eq(&row.ciphertext));
    let data = (
        credentials::encrypted_secret.eq(&new.ciphertext),
        credentials::master_version.eq(new.version),
        credentials::lookup_digest.eq(lookup),
    );
    Ok(diesel::update(unchanged).set(data).count_affected(tx)? == 1)
}
