//! Credentials of API keys.

use crate::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        credentials::api_key::Credential,
    },
    store::{columns::parsed, error::StoreError, pool::Conn, rows::values, schema::credentials, transaction::Tx},
};
use diesel::prelude::*;
use diesel::{Queryable, Selectable};

/// A credential of a key, not yet parsed: invalid data of one key must not affect the others.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = credentials)]
pub(crate) struct CredentialRow {
    id: String,
    pub(crate) key_id: String,
    prefix: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    masked_value: Option<String>,
}

/// A credential to be inserted.
#[derive(Debug)]
pub struct NewCredential {
    pub credential: Credential,
    pub encrypted_secret: Vec<u8>,
    pub master_version: i32,
    /// The keyed digest under which an imported key is found.
    pub lookup_digest: Option<String>,
}

pub fn insert_credential(tx: &mut Tx<'_>, key: &KeyId, new: &NewCredential) -> Result<(), StoreError> {
    diesel::insert_into(credentials::table)
        .values(values!(credentials, new.credential =>
            id, key_id = key, prefix, encrypted_secret = new.encrypted_secret.as_slice(),
            master_version = new.master_version, created_at, expires_at, lookup_digest = &new.lookup_digest,
            masked_value,
        ))
        .execute(&mut **tx)?;
    tx.register_new_credential(new.credential.id);
    Ok(())
}

/// Returns whether an imported key is stored under one of `lookups`, whether in force or not.
pub fn is_imported_key_stored(connection: &mut Conn, lookups: &[String]) -> Result<bool, StoreError> {
    let found =
        credentials::table.filter(credentials::lookup_digest.eq_any(lookups)).count().get_result::<i64>(connection)?;
    Ok(found > 0)
}

/// Sets the expiration of a credential that is replaced, or clears it when the rotation is
/// cancelled.
pub fn set_credential_expiration(tx: &mut Tx<'_>, id: &CredentialId, end: Option<Timestamp>) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::update(credentials::table.find(id))
        .set((credentials::expires_at.eq(end), credentials::replaced_at.eq(end.map(|_| now))))
        .execute(&mut **tx)?;
    Ok(())
}

pub(crate) fn credential_from_row(
    (row, last_used_at): (CredentialRow, Option<Timestamp>),
) -> Result<Credential, StoreError> {
    Ok(Credential {
        id: parsed("credential id", &row.id)?,
        prefix: parsed("prefix", &row.prefix)?,
        masked_value: row.masked_value.as_deref().map(|text| parsed("masked key", text)).transpose()?,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at,
    })
}
