//! Credentials of API keys.

use crate::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        credentials::{api_key::Credential, imported::MaskedKey},
    },
    store::{columns::parsed, error::StoreError, pool::Conn, schema::credentials, transaction::Tx},
};
use diesel::prelude::*;
use diesel::{Queryable, Selectable};

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = credentials)]
pub(crate) struct CredentialRow {
    id: String,
    pub(crate) key_id: String,
    prefix: String,
    created_at: i64,
    expires_at: Option<i64>,
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
        .values((
            credentials::id.eq(new.credential.id.as_str()),
            credentials::key_id.eq(key.as_str()),
            credentials::prefix.eq(new.credential.prefix.as_str()),
            credentials::encrypted_secret.eq(new.encrypted_secret.as_slice()),
            credentials::master_version.eq(new.master_version),
            credentials::created_at.eq(new.credential.created_at.millis()),
            credentials::expires_at.eq(new.credential.expires_at.map(Timestamp::millis)),
            credentials::lookup_digest.eq(new.lookup_digest.as_deref()),
            credentials::masked_value.eq(new.credential.masked_value.as_ref().map(MaskedKey::as_str)),
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
    diesel::update(credentials::table.find(id.as_str()))
        .set((
            credentials::expires_at.eq(end.map(Timestamp::millis)),
            credentials::replaced_at.eq(end.map(|_| now.millis())),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub(crate) fn credential_from_row((row, used): (CredentialRow, Option<i64>)) -> Result<Credential, StoreError> {
    Ok(Credential {
        id: parsed("credential id", &row.id)?,
        prefix: parsed("prefix", &row.prefix)?,
        masked_value: row.masked_value.as_deref().map(|text| parsed("masked key", text)).transpose()?,
        created_at: Timestamp::from_millis(row.created_at),
        expires_at: row.expires_at.map(Timestamp::from_millis),
        last_used_at: used.map(Timestamp::from_millis),
    })
}
