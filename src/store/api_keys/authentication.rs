//! Authentication of keys. The secret of a credential is encrypted for the authority of its key, so
//! every change of a key decrypts its credentials before, which proves that the rows are unaltered,
//! and encrypts them again after, in the last step of the transaction.

use std::collections::BTreeMap;

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            encryption::{Encrypted, Plaintext},
            id::{KeyId, StatusListId},
            time::Timestamp,
        },
        credentials::authority::{CredentialAuthority, Entitlement},
        events::Digest,
    },
    store::{
        api_keys::{
            key_row::KeyRow,
            narrow_row::{self, EncryptedFor},
        },
        column_types::{Count, Json},
        pending_changes::KeyChanges,
        prelude::*,
        row_encryption::AuthenticatedRow,
        row_versions,
        schema::{api_keys, credentials, narrow_credentials},
    },
};

/// The ciphertext of a credential, with what decides about it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
pub(crate) struct EncryptedCredential {
    id: CredentialId,
    number: i64,
    expires_at: Option<Timestamp>,
    replaced_at: Option<Timestamp>,
    status_list: Option<StatusListId>,
    status_index: Option<Count>,
    encrypted_secret: Vec<u8>,
    master_version: i32,
    lookup_digest: Option<String>,
}

impl EncryptedCredential {
    fn authority<'a>(&'a self, key: &'a KeyRow) -> CredentialAuthority<'a> {
        CredentialAuthority {
            credential: &self.id,
            credential_expires_at: self.expires_at,
            status: self.status_list.as_ref().zip(self.status_index.map(u32::from)),
            key: &key.id,
            version: key.version,
            lifecycle: key.lifecycle(),
            exchanges_per_minute: key.exchanges_per_minute.map(u32::from),
            record_bound: key.record_bound.0,
            owner: &key.owner,
            owner_scope: &key.owner_scope,
            creator_membership: key.creator_id.as_ref().zip(key.creator_generation_id.as_ref()),
            metadata: &key.metadata,
            entitlement: Entitlement {
                permissions: &key.permissions,
                audiences: key.audiences.as_ref().map(|Json(audiences)| audiences.as_slice()),
                max_token_ttl: key.max_token_ttl,
            },
        }
    }

    fn decrypt(&self, tx: &Tx<'_>, key: &KeyRow) -> Result<Plaintext, StoreError> {
        let encrypted = Encrypted { master_version: self.master_version, bytes: self.encrypted_secret.clone() };
        tx.decrypt(&self.authority(key).encode(tx.encryption.digest()), &encrypted, "credentials", self.id.as_str())
    }

    fn encrypt(&self, tx: &mut Tx<'_>, key: &KeyRow, digest: &Plaintext) -> Result<NewCiphertext, StoreError> {
        let encrypted = tx.encrypt(&self.authority(key).encode(tx.encryption.digest()), digest)?;
        // The lookup value of an imported key depends on the version of the master key.
        let lookup_digest = match self.lookup_digest {
            None => None,
            Some(_) => Some(tx.cipher()?.imported_key_lookup(encrypted.master_version, digest)?),
        };
        let Encrypted { master_version, bytes: encrypted_secret } = encrypted;
        Ok(NewCiphertext { encrypted_secret, master_version, lookup_digest })
    }

    /// Encrypts the digest again, and writes the ciphertext. Returns whether the credential exists.
    fn write_encrypted(&self, tx: &mut Tx<'_>, key: &KeyRow, digest: &Plaintext) -> Result<bool, StoreError> {
        let new = self.encrypt(tx, key, digest)?;
        if diesel::update(credentials::table.find(&self.id)).set(&new).count_affected(tx)? != 1 {
            return Ok(false);
        }
        let encrypted = EncryptedFor {
            authority: self.authority(key),
            encrypted_secret: &new.encrypted_secret,
            master_version: new.master_version,
            key_created_at: key.created_at,
            is_replaced: self.replaced_at.is_some(),
            is_imported: self.lookup_digest.is_some(),
        };
        narrow_row::replace(tx, &encrypted)?;
        Ok(true)
    }
}

/// The columns of a credential that depend on the master key.
#[derive(AsChangeset)]
#[diesel(table_name = credentials)]
struct NewCiphertext {
    encrypted_secret: Vec<u8>,
    master_version: i32,
    lookup_digest: Option<String>,
}

/// Credentials with their keys. Both rows are read by one statement: a change in between would look
/// like an alteration.
macro_rules! credentials_with_keys {
    () => {
        credentials::table
            .inner_join(api_keys::table.on(api_keys::id.eq(credentials::key_id)))
            .select((EncryptedCredential::as_select(), KeyRow::as_select()))
    };
}

fn load_credentials(connection: &mut Conn, key: &KeyId) -> Result<Vec<EncryptedCredential>, StoreError> {
    credentials::table
        .filter(credentials::key_id.eq(key))
        .order(credentials::id.asc())
        .select(EncryptedCredential::as_select())
        .load_all(connection)
}

fn load_key(connection: &mut Conn, key: &KeyId) -> Result<KeyRow, StoreError> {
    let row: Option<KeyRow> = api_keys::table.find(key).select(KeyRow::as_select()).load_first(connection)?;
    row.ok_or_else(|| StoreError::invalid_data("a key that is being changed disappeared"))
}

/// Returns the subject of the events of a key.
pub(crate) fn subject(key: &KeyId) -> String {
    format!("api_key:{key}")
}

/// Verifies a key that is locked for a change. Returns `StoreError::Altered` if its row or that of
/// a credential was altered outside of Keyswap, and `StoreError::OlderVersion` if an older row of
/// the key was put back.
pub(crate) fn verify_for_change(tx: &mut Tx<'_>, key: &KeyRow) -> Result<(), StoreError> {
    if tx.keys.changed.contains(&key.id) {
        // This change has verified the key before, and encrypts it again at its end.
        return Ok(());
    }
    decrypt_credentials(tx, key)?;
    row_versions::require_newest_version(tx, "api_keys", key.id.as_str(), subject(&key.id), key.version)
}

/// Locks the credentials of a locked key and decrypts their digests, which proves that all of these
/// rows are unaltered until the end of the change.
fn decrypt_credentials(tx: &mut Tx<'_>, key: &KeyRow) -> Result<(), StoreError> {
    let of_key = credentials::table.filter(credentials::key_id.eq(&key.id));
    diesel::update(of_key).set(credentials::key_id.eq(&key.id)).execute_in(tx)?;
    let found = load_credentials(tx, &key.id)?;
    if found.is_empty() {
        // Nothing proves a key whose credentials are gone, and a new credential would.
        return Err(StoreError::Altered { table: "api_keys", id: key.id.to_string() });
    }
    for credential in found {
        let digest = credential.decrypt(tx, key)?;
        tx.keys.digests.insert(credential.id, digest);
    }
    Ok(())
}

/// Encrypts the credentials of the changed keys for their new authority. A credential that the
/// change did not verify is an error, so an altered row is never authenticated.
pub(crate) fn encrypt_changed_keys(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let KeyChanges { digests, changed } = std::mem::take(&mut tx.keys);
    for key in changed {
        let key = load_key(tx, &key)?;
        for credential in load_credentials(tx, &key.id)? {
            let digest = digests.get(&credential.id);
            let digest = digest.ok_or_else(|| StoreError::invalid_data("a key was changed without being verified"))?;
            credential.write_encrypted(tx, &key, digest)?;
        }
        tx.versions.insert(subject(&key.id), key.version);
    }
    Ok(())
}

/// Returns the keys of these credentials.
pub fn find_keys(connection: &mut Conn, ids: &[String]) -> Result<BTreeMap<String, KeyId>, StoreError> {
    let found: Vec<(String, KeyId)> = credentials::table
        .filter(credentials::id.eq_any(ids))
        .select((credentials::id, credentials::key_id))
        .load_all(connection)?;
    Ok(found.into_iter().collect())
}

/// Encrypts a credential of `key` under the current master key, unless it was deleted. Locks the
/// key, like every change of its credentials. Returns `StoreError::Altered` if a row was altered
/// outside of Keyswap.
pub fn re_encrypt(tx: &mut Tx<'_>, key: &KeyId, id: &str) -> Result<bool, StoreError> {
    lock_row!(tx, api_keys, key);
    diesel::update(credentials::table.find(id)).set(credentials::id.eq(id)).execute_in(tx)?;
    let found: Option<(EncryptedCredential, KeyRow)> =
        credentials_with_keys!().filter(credentials::id.eq(id)).load_first(tx)?;
    let Some((credential, key)) = found else { return Ok(false) };
    let digest = credential.decrypt(tx, &key)?;
    credential.write_encrypted(tx, &key, &digest)
}

/// The ciphertext of a narrow row.
type NarrowCiphertext = (Vec<u8>, i32);

impl AuthenticatedRow {
    fn of_credential(credential: &EncryptedCredential, key: &KeyRow, encrypted: Encrypted, digest: Digest) -> Self {
        let encoded = credential.authority(key).encode(digest);
        Self { id: credential.id.to_string(), encoded, encrypted, subject: subject(&key.id), version: key.version }
    }
}

/// Returns credentials with these ids, to be checked. That of a credential is followed by its
/// narrow row, if it has one, which must be encrypted for the same authority: otherwise it is an
/// older one that was put back.
pub fn find_to_check(
    connection: &mut Conn,
    digest: Digest,
    ids: &[String],
) -> Result<Vec<AuthenticatedRow>, StoreError> {
    let found: Vec<(EncryptedCredential, KeyRow, Option<NarrowCiphertext>)> = credentials::table
        .inner_join(api_keys::table.on(api_keys::id.eq(credentials::key_id)))
        .left_join(narrow_credentials::table.on(narrow_credentials::number.eq(credentials::number)))
        .filter(credentials::id.eq_any(ids))
        .select((
            EncryptedCredential::as_select(),
            KeyRow::as_select(),
            (narrow_credentials::encrypted_secret, narrow_credentials::master_version).nullable(),
        ))
        .load_all(connection)?;
    let rows = found.into_iter().flat_map(|(credential, key, narrow)| {
        // The number is not encrypted for. With another one, a narrow row would not be found here.
        let narrow =
            if credential.number == credential.id.number() { narrow } else { Some(NarrowCiphertext::default()) };
        let own = (credential.encrypted_secret.clone(), credential.master_version);
        let both = [Some(own), narrow].into_iter().flatten();
        let row = |(bytes, master_version)| {
            AuthenticatedRow::of_credential(&credential, &key, Encrypted { master_version, bytes }, digest)
        };
        both.map(row).collect::<Vec<_>>()
    });
    Ok(rows.collect())
}

/// Returns at most `limit` keys that have no credential, which Keyswap never leaves behind.
pub fn list_without_credentials(connection: &mut Conn, limit: i64) -> Result<Vec<String>, StoreError> {
    api_keys::table
        .left_join(credentials::table.on(credentials::key_id.eq(api_keys::id)))
        .filter(credentials::id.is_null())
        .select(api_keys::id)
        .limit(limit)
        .load_all(connection)
}

/// Makes a credential and its key authentic as they are, with `digest` as the digest of the secret.
pub fn accept(tx: &mut Tx<'_>, id: &str, digest: &Plaintext) -> Result<(), StoreError> {
    let (credential, key): (EncryptedCredential, KeyRow) =
        credentials_with_keys!().filter(credentials::id.eq(id)).load_one(tx)?;
    credential.write_encrypted(tx, &key, digest).map(drop)
}

/// Gives a key the version that follows that of its last event, so that an older row that was put
/// back becomes the newest one.
pub fn make_newest(tx: &mut Tx<'_>, key: &KeyId) -> Result<(), StoreError> {
    lock_row!(tx, api_keys, key);
    let row = load_key(tx, key)?;
    decrypt_credentials(tx, &row)?;
    let recorded = row_versions::last_versions(tx, &[subject(key)])?.into_values().max().unwrap_or_default();
    let version = recorded.max(row.version).saturating_add(1);
    diesel::update(api_keys::table.find(key)).set(api_keys::version.eq(version)).execute_in(tx)?;
    tx.keys.mark_changed(key);
    Ok(())
}
