//! All data that is encrypted with a master key, to count it and to re-encrypt it.

use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, RunQueryDsl};
use serde::Serialize;

use crate::store::{
    error::StoreError,
    pool::Conn,
    schema::{credentials, portal_sessions, signing_keys, webhooks},
    transaction::Tx,
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

/// Returns how many rows of `place` are encrypted with the master key `version`.
pub fn count(connection: &mut Conn, place: EncryptedColumn, version: i32) -> Result<i64, StoreError> {
    let count = match place {
        EncryptedColumn::SigningKeys => {
            signing_keys::table.filter(signing_keys::master_version.eq(version)).count().get_result(connection)
        }
        EncryptedColumn::Credentials => {
            credentials::table.filter(credentials::master_version.eq(version)).count().get_result(connection)
        }
        EncryptedColumn::PortalSessions => {
            portal_sessions::table.filter(portal_sessions::master_version.eq(version)).count().get_result(connection)
        }
        EncryptedColumn::Webhooks => {
            webhooks::table.filter(webhooks::master_version.eq(version)).count().get_result(connection)
        }
        EncryptedColumn::PreviousWebhookSecrets => {
            webhooks::table.filter(webhooks::previous_master_version.eq(version)).count().get_result(connection)
        }
    };
    Ok(count?)
}

/// Returns up to `limit` rows of `place` that are encrypted with the master key `version`, in the
/// order of their ids, starting after the id `after`.
pub fn list_by_master_key(
    connection: &mut Conn,
    place: EncryptedColumn,
    version: i32,
    after: &str,
    limit: i64,
) -> Result<Vec<EncryptedRow>, StoreError> {
    let plain = |(id, ciphertext): (String, Vec<u8>)| EncryptedRow { id, ciphertext, has_lookup_digest: false };
    let nullable = |(id, ciphertext): (String, Option<Vec<u8>>)| ciphertext.map(|ciphertext| plain((id, ciphertext)));
    let rows = match place {
        EncryptedColumn::SigningKeys => {
            let rows: Vec<(String, Option<Vec<u8>>)> = signing_keys::table
                .filter(signing_keys::master_version.eq(version).and(signing_keys::kid.gt(after)))
                .order(signing_keys::kid)
                .limit(limit)
                .select((signing_keys::kid, signing_keys::encrypted_private_key))
                .load(connection)?;
            rows.into_iter().filter_map(nullable).collect()
        }
        EncryptedColumn::Credentials => {
            let rows: Vec<(String, Vec<u8>, Option<String>)> = credentials::table
                .filter(credentials::master_version.eq(version).and(credentials::id.gt(after)))
                .order(credentials::id)
                .limit(limit)
                .select((credentials::id, credentials::encrypted_secret, credentials::lookup_digest))
                .load(connection)?;
            rows.into_iter()
                .map(|(id, ciphertext, lookup)| EncryptedRow { id, ciphertext, has_lookup_digest: lookup.is_some() })
                .collect()
        }
        EncryptedColumn::PortalSessions => {
            let rows = portal_sessions::table
                .filter(portal_sessions::master_version.eq(version).and(portal_sessions::id.gt(after)))
                .order(portal_sessions::id)
                .limit(limit)
                .select((portal_sessions::id, portal_sessions::encrypted_secret))
                .load(connection)?;
            rows.into_iter().map(plain).collect()
        }
        EncryptedColumn::Webhooks => {
            let rows = webhooks::table
                .filter(webhooks::master_version.eq(version).and(webhooks::id.gt(after)))
                .order(webhooks::id)
                .limit(limit)
                .select((webhooks::id, webhooks::encrypted_secret))
                .load(connection)?;
            rows.into_iter().map(plain).collect()
        }
        EncryptedColumn::PreviousWebhookSecrets => {
            let rows: Vec<(String, Option<Vec<u8>>)> = webhooks::table
                .filter(webhooks::previous_master_version.eq(version).and(webhooks::id.gt(after)))
                .order(webhooks::id)
                .limit(limit)
                .select((webhooks::id, webhooks::previous_encrypted_secret))
                .load(connection)?;
            rows.into_iter().filter_map(nullable).collect()
        }
    };
    Ok(rows)
}

/// The re-encrypted data of a row.
#[derive(Debug)]
pub struct ReEncrypted {
    pub ciphertext: Vec<u8>,
    pub version: i32,
    /// Present for a row with a lookup digest.
    pub lookup: Option<String>,
}

/// Replaces the encrypted data of `row`. Returns `false` if it was modified or deleted since it was
/// read.
pub fn replace(
    tx: &mut Tx<'_>,
    place: EncryptedColumn,
    row: &EncryptedRow,
    anew: &ReEncrypted,
) -> Result<bool, StoreError> {
    let (id, before, ciphertext, version) =
        (row.id.as_str(), row.ciphertext.as_slice(), anew.ciphertext.as_slice(), anew.version);
    let changed = match place {
        EncryptedColumn::SigningKeys => {
            diesel::update(signing_keys::table.find(id).filter(signing_keys::encrypted_private_key.eq(before)))
                .set((signing_keys::encrypted_private_key.eq(ciphertext), signing_keys::master_version.eq(version)))
                .execute(&mut **tx)?
        }
        EncryptedColumn::Credentials => {
            let row = credentials::table.find(id).filter(credentials::encrypted_secret.eq(before));
            let seal = (credentials::encrypted_secret.eq(ciphertext), credentials::master_version.eq(version));
            match &anew.lookup {
                // The digest changes in the same statement, so a lookup finds the row by the old or
                // by the new digest.
                Some(lookup) => {
                    diesel::update(row).set((seal, credentials::lookup_digest.eq(lookup))).execute(&mut **tx)?
                }
                None => diesel::update(row).set(seal).execute(&mut **tx)?,
            }
        }
        EncryptedColumn::PortalSessions => {
            diesel::update(portal_sessions::table.find(id).filter(portal_sessions::encrypted_secret.eq(before)))
                .set((portal_sessions::encrypted_secret.eq(ciphertext), portal_sessions::master_version.eq(version)))
                .execute(&mut **tx)?
        }
        EncryptedColumn::Webhooks => {
            diesel::update(webhooks::table.find(id).filter(webhooks::encrypted_secret.eq(before)))
                .set((webhooks::encrypted_secret.eq(ciphertext), webhooks::master_version.eq(version)))
                .execute(&mut **tx)?
        }
        EncryptedColumn::PreviousWebhookSecrets => {
            diesel::update(webhooks::table.find(id).filter(webhooks::previous_encrypted_secret.eq(before)))
                .set((
                    webhooks::previous_encrypted_secret.eq(ciphertext),
                    webhooks::previous_master_version.eq(version),
                ))
                .execute(&mut **tx)?
        }
    };
    Ok(changed == 1)
}
