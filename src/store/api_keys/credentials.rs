//! Credentials of API keys.

use crate::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        credentials::{api_key::Credential, format::Prefix, imported::MaskedKey, secret_digest::SecretDigest},
    },
    store::{prelude::*, schema::credentials},
};

/// A credential of a key, without its last-used time.
#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
pub(crate) struct CredentialRow {
    id: CredentialId,
    pub(crate) key_id: KeyId,
    prefix: Prefix,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    masked_value: Option<MaskedKey>,
}

impl CredentialRow {
    pub(crate) fn with_last_use(self, last_used_at: Option<Timestamp>) -> Credential {
        let Self { id, prefix, created_at, expires_at, masked_value, .. } = self;
        Credential { id, prefix, masked_value, created_at, expires_at, last_used_at }
    }
}

/// A credential to be inserted.
#[derive(Debug)]
pub struct NewCredential {
    pub credential: Credential,
    pub digest: SecretDigest,
    /// The keyed digest under which an imported key is found.
    pub lookup_digest: Option<String>,
}

/// Returns a random id whose number no credential has.
pub fn generate_id(tx: &mut Tx<'_>) -> Result<CredentialId, StoreError> {
    loop {
        let id = CredentialId::generate(tx.entropy())?;
        let same_number: i64 = credentials::table.filter(credentials::number.eq(id.number())).count().load_one(tx)?;
        if same_number == 0 {
            return Ok(id);
        }
    }
}

/// Inserts a credential. It receives its status list index and its ciphertext at the end of the
/// change.
pub fn insert_credential(tx: &mut Tx<'_>, key: &KeyId, new: &NewCredential) -> Result<(), StoreError> {
    let master_version = tx.cipher()?.current_version();
    diesel::insert_into(credentials::table)
        .values(values!(credentials, new.credential =>
            id, number = new.credential.id.number(), key_id = key, prefix, encrypted_secret = Vec::<u8>::new(), master_version = master_version,
            created_at, expires_at, lookup_digest = &new.lookup_digest,
            masked_value,
        ))
        .execute_in(tx)?;
    tx.register_new_credential(new.credential.id);
    tx.keys.add_credential(new.credential.id, &new.digest);
    tx.keys.mark_changed(key);
    Ok(())
}

/// Returns whether an imported key is stored under one of `lookups`, whether in force or not.
pub fn is_imported_key_stored(connection: &mut Conn, lookups: &[String]) -> Result<bool, StoreError> {
    let found: i64 =
        credentials::table.filter(credentials::lookup_digest.eq_any(lookups)).count().load_one(connection)?;
    Ok(found > 0)
}

/// Sets the expiration of a credential of `key` that is replaced, or clears it when the rotation is
/// cancelled.
pub fn set_credential_expiration(
    tx: &mut Tx<'_>,
    key: &KeyId,
    id: &CredentialId,
    end: Option<Timestamp>,
) -> Result<(), StoreError> {
    tx.keys.mark_changed(key);
    let now = tx.now();
    diesel::update(credentials::table.find(id))
        .set((credentials::expires_at.eq(end), credentials::replaced_at.eq(end.map(|_| now))))
        .execute_in(tx)
}
