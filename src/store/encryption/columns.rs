//! All data that is encrypted with a master key, to count it and to re-encrypt it.

use serde::Serialize;

use crate::{
    domain::common::{encryption::Encrypted, text::text_enum},
    store::{
        prelude::*,
        schema::{
            access_records, audiences, credentials, portal_sessions, signing_key_manifest, signing_keys, webhooks,
        },
    },
};

text_enum! {
    /// A column of encrypted data. Every such column must be listed here, because rotation and
    /// removal of a master key process these columns.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EncryptedColumn {
        SigningKeys = "signing keys",
        Credentials = "credentials",
        PortalSessions = "portal sessions",
        Webhooks = "webhooks",
        /// Previous webhook secrets, which still sign during the overlap.
        PreviousWebhookSecrets = "old webhook secrets",
        /// The tag of the manifest of the signing keys.
        SigningKeyManifest = "signing key manifests",
        /// The tags of audiences.
        Audiences = "audiences",
        /// The tags of access records.
        AccessRecords = "access records",
    }
}

/// An encrypted row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedRow {
    pub id: String,
    pub ciphertext: Vec<u8>,
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
            EncryptedColumn::SigningKeyManifest => $statement!(signing_key_manifest, id, tag, master_version),
            EncryptedColumn::Audiences => $statement!(audiences, id, tag, master_version),
            EncryptedColumn::AccessRecords => $statement!(access_records, id, tag, master_version),
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
            $table::table
                .filter($table::$version.eq(version).and($table::$id.gt(after)).and($table::$data.is_not_null()))
                .order($table::$id)
                .limit(limit)
                .select(($table::$id, $table::$data.assume_not_null()))
                .load_all(connection)?
        };
    }
    let rows: Vec<(String, Vec<u8>)> = for_column!(column, list);
    Ok(rows.into_iter().map(|(id, ciphertext)| EncryptedRow { id, ciphertext }).collect())
}

/// Returns up to `limit` ids of the rows of `column`, in their order, starting after the id
/// `after`.
pub fn list_ids(
    connection: &mut Conn,
    column: EncryptedColumn,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    macro_rules! list {
        ($table:ident, $id:ident, $data:ident, $version:ident) => {
            $table::table
                .filter($table::$id.gt(after))
                .order($table::$id)
                .limit(limit)
                .select($table::$id)
                .load_all(connection)?
        };
    }
    Ok(for_column!(column, list))
}

/// Replaces the encrypted data of `row`. Returns `false` if it was modified or deleted since it was
/// read.
pub fn replace(
    tx: &mut Tx<'_>,
    column: EncryptedColumn,
    row: &EncryptedRow,
    new: &Encrypted,
) -> Result<bool, StoreError> {
    macro_rules! replace {
        ($table:ident, $id:ident, $data:ident, $version:ident) => {{
            let unchanged = $table::table.find(&row.id).filter($table::$data.eq(&row.ciphertext));
            let data = ($table::$data.eq(&new.bytes), $table::$version.eq(new.master_version));
            diesel::update(unchanged).set(data).count_affected(tx)?
        }};
    }
    Ok(for_column!(column, replace) == 1)
}
