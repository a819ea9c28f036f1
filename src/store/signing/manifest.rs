//! The manifest of the signing keys. Every change of the keys locks it and the rows, verifies both,
//! and writes it again in the last step of the transaction: with new digests of the keys that the
//! change has written, and the digests of all others as they were.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        common::{
            derived_id::SigningKeyId,
            encryption::{Encrypted, EncryptionError},
        },
        signing::manifest::SigningKeyManifest,
    },
    store::{
        column_types::{Json, OptionalCiphertext},
        pending_changes::ManifestChange,
        prelude::*,
        row_encryption::RowEncryption,
        schema::{signing_key_manifest, signing_keys},
        signing::stored_keys::{StoredSigningKey, list_rows},
    },
};

/// The signing keys that Keyswap has written.
#[derive(Debug, Default)]
pub struct AuthenticSigningKeys {
    /// In the order of publication.
    pub keys: Vec<StoredSigningKey>,
    /// Keys whose rows were inserted, altered or deleted outside of Keyswap.
    pub altered: BTreeSet<SigningKeyId>,
    /// The counter of the manifest.
    pub counter: i64,
}

impl AuthenticSigningKeys {
    pub fn into_published(self) -> Vec<StoredSigningKey> {
        self.keys.into_iter().filter(|key| key.info.state.is_published()).collect()
    }
}

/// An altered counter is accepted up to this value, after which it can still be incremented.
const MAX_ACCEPTED_COUNTER: i64 = 1 << 53;

/// The id of the only row.
const ID: &str = "signing_keys";

/// The manifest as it is stored.
struct ManifestRow {
    counter: i64,
    digests: BTreeMap<SigningKeyId, String>,
    tag: Option<Encrypted>,
}

selectable!(signing_key_manifest => ManifestRow {
    counter, digests as Json<BTreeMap<SigningKeyId, String>>, tag = (tag, master_version) as OptionalCiphertext,
});

impl ManifestRow {
    fn is_new(&self) -> bool {
        self.tag.is_none() && self.counter == 0 && self.digests.is_empty()
    }

    /// Returns an error if the manifest was altered outside of Keyswap. Only that of a new
    /// database, which `has_keys` is false for, has no tag.
    fn verify(&self, has_keys: bool, encryption: &RowEncryption) -> Result<(), StoreError> {
        let Some(tag) = &self.tag else {
            return if self.is_new() && !has_keys { Ok(()) } else { Err(altered()) };
        };
        let manifest = SigningKeyManifest { counter: self.counter, digests: self.digests.clone() };
        match encryption.cipher()?.decrypt(&manifest.encode(), tag) {
            Ok(_) => Ok(()),
            Err(EncryptionError::DecryptionFailed) => Err(altered()),
            Err(error @ (EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_))) => Err(error.into()),
        }
    }
}

fn altered() -> StoreError {
    StoreError::Altered { table: "signing_key_manifest", id: ID.to_owned() }
}

/// Returns the signing keys that Keyswap has written. Only these may be published, sign or verify.
/// Returns `StoreError::Altered` if the manifest was altered outside of Keyswap.
pub fn list(connection: &mut Conn, encryption: &RowEncryption) -> Result<AuthenticSigningKeys, StoreError> {
    let (keys, manifest) = load_keys_with_manifest(connection)?;
    manifest.verify(!keys.is_empty(), encryption)?;
    let ManifestRow { counter, digests, .. } = manifest;
    let (keys, altered): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|key| digests.get(&key.info.kid) == Some(&digest(key, encryption)));
    let present: BTreeSet<_> = keys.iter().chain(&altered).map(|key| &key.info.kid).collect();
    let deleted: Vec<_> = digests.keys().filter(|kid| !present.contains(kid)).cloned().collect();
    let altered = altered.into_iter().map(|key| key.info.kid).chain(deleted).collect();
    Ok(AuthenticSigningKeys { keys, altered, counter })
}

/// Returns whether no signing key was ever published: a database whose keys were deleted is not
/// new.
pub fn is_new(connection: &mut Conn) -> Result<bool, StoreError> {
    let (keys, manifest) = load_keys_with_manifest(connection)?;
    Ok(keys.is_empty() && manifest.is_new())
}

/// Reads both in one statement: a change between two would look like an alteration. Only a database
/// without signing keys takes several.
fn load_keys_with_manifest(connection: &mut Conn) -> Result<(Vec<StoredSigningKey>, ManifestRow), StoreError> {
    let load = |connection: &mut Conn| -> Result<_, StoreError> {
        let rows: Vec<(StoredSigningKey, ManifestRow)> = signing_keys::table
            .inner_join(signing_key_manifest::table.on(signing_key_manifest::id.eq(ID)))
            .order((signing_keys::published_at.asc(), signing_keys::kid.asc()))
            .select((StoredSigningKey::as_select(), ManifestRow::as_select()))
            .load_all(connection)?;
        let (keys, mut manifests): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Ok(manifests.pop().map(|manifest| (keys, manifest)))
    };
    if let Some(found) = load(connection)? {
        return Ok(found);
    }
    let manifest: Option<ManifestRow> =
        signing_key_manifest::table.find(ID).select(ManifestRow::as_select()).load_first(connection)?;
    let without_keys = manifest.map(|manifest| (Vec::new(), manifest)).ok_or_else(altered)?;
    // Another replica may have published the first keys since.
    Ok(load(connection)?.unwrap_or(without_keys))
}

fn digest(key: &StoredSigningKey, encryption: &RowEncryption) -> String {
    encryption.digest_hex(&key.info.encode(&key.public_jwk))
}

/// Locks the manifest and the rows of all keys until the end of the change and verifies them,
/// unless the change has done so before. Called before every write to the table. Returns
/// `StoreError::Altered` if the manifest was altered outside of Keyswap: a new one would destroy
/// the evidence of which keys were.
pub fn begin_change(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    if tx.signing_keys.is_some() {
        return Ok(());
    }
    let row = signing_key_manifest::table.find(ID);
    diesel::update(row).set(signing_key_manifest::counter.eq(signing_key_manifest::counter)).execute_in(tx)?;
    // Otherwise SQL of somebody else could alter a key after it was verified here, and before this
    // change writes it.
    diesel::update(signing_keys::table).set(signing_keys::version.eq(signing_keys::version)).execute_in(tx)?;
    let manifest: Option<ManifestRow> = row.select(ManifestRow::as_select()).load_first(tx)?;
    let manifest = manifest.ok_or_else(altered)?;
    let keys = list_rows(tx)?;
    manifest.verify(!keys.is_empty(), tx.encryption)?;
    let ManifestRow { counter, digests, tag } = manifest;
    let is_authentic = |key: &StoredSigningKey| digests.get(&key.info.kid) == Some(&digest(key, tx.encryption));
    let authentic = keys.into_iter().filter(is_authentic).map(|key| key.info.kid).collect();
    let master_version = tag.map(|tag| tag.master_version);
    tx.signing_keys = Some(ManifestChange { counter, digests, master_version, authentic, written: BTreeSet::new() });
    Ok(())
}

/// Begins a change of a key that was verified, and whose digest is written at the end of the
/// change. Returns `StoreError::Altered` if the key was altered outside of Keyswap.
pub(crate) fn begin_write(tx: &mut Tx<'_>, kid: &SigningKeyId) -> Result<(), StoreError> {
    begin_change(tx)?;
    match &mut tx.signing_keys {
        Some(change) if change.authentic.contains(kid) => {
            change.written.insert(kid.clone());
            Ok(())
        }
        Some(_) | None => Err(StoreError::Altered { table: "signing_keys", id: kid.to_string() }),
    }
}

/// Begins the insertion of a key.
pub(crate) fn begin_insert(tx: &mut Tx<'_>, kid: &SigningKeyId) -> Result<(), StoreError> {
    begin_change(tx)?;
    if let Some(change) = &mut tx.signing_keys {
        change.authentic.insert(kid.clone());
        change.written.insert(kid.clone());
    }
    Ok(())
}

/// Like `list`, for a change of the signing keys, with what the change has written.
pub fn list_for_change(tx: &mut Tx<'_>) -> Result<Vec<StoredSigningKey>, StoreError> {
    begin_change(tx)?;
    let mut keys = list_rows(tx)?;
    if let Some(change) = &tx.signing_keys {
        keys.retain(|key| change.authentic.contains(&key.info.kid));
    }
    Ok(keys)
}

/// Makes the row of a key authentic as it is, or its absence if it was deleted. Returns `false` if
/// it is so already.
pub fn accept(tx: &mut Tx<'_>, kid: &SigningKeyId) -> Result<bool, StoreError> {
    begin_change(tx)?;
    let exists = list_rows(tx)?.iter().any(|key| key.info.kid == *kid);
    let Some(change) = &mut tx.signing_keys else { return Ok(false) };
    let is_altered = if exists { !change.authentic.contains(kid) } else { change.digests.contains_key(kid) };
    if is_altered {
        change.written.insert(kid.clone());
    }
    Ok(is_altered)
}

/// Makes the manifest authentic as it is. Keys whose rows it does not match remain refused. Returns
/// `false` if it is authentic already.
pub fn accept_manifest(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    match begin_change(tx) {
        Ok(()) => return Ok(false),
        Err(StoreError::Altered { .. }) => {}
        Err(error) => return Err(error),
    }
    let manifest: Option<ManifestRow> =
        signing_key_manifest::table.find(ID).select(ManifestRow::as_select()).load_first(tx)?;
    if manifest.is_none() {
        let values = (
            signing_key_manifest::id.eq(ID),
            signing_key_manifest::counter.eq(0),
            signing_key_manifest::digests.eq(Json(BTreeMap::<SigningKeyId, String>::new())),
        );
        diesel::insert_into(signing_key_manifest::table).values(values).execute_in(tx)?;
    }
    let (counter, digests) = manifest.map_or_else(Default::default, |manifest| (manifest.counter, manifest.digests));
    write(tx, counter.min(MAX_ACCEPTED_COUNTER), digests)?;
    Ok(true)
}

/// Writes the manifest, if the change concerns signing keys and has changed one, or if the master
/// key was changed since.
pub(crate) fn write_manifest(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let Some(ManifestChange { counter, digests: before, master_version, written, .. }) = tx.signing_keys.take() else {
        return Ok(());
    };
    let mut digests = before.clone();
    digests.retain(|kid, _| !written.contains(kid));
    let keys = list_rows(tx)?.into_iter().filter(|key| written.contains(&key.info.kid));
    digests.extend(keys.map(|key| (key.info.kid.clone(), digest(&key, tx.encryption))));
    if digests == before && master_version == Some(tx.cipher()?.current_version()) {
        return Ok(());
    }
    write(tx, counter, digests)
}

/// Writes the manifest with the counter that follows `counter`.
fn write(tx: &mut Tx<'_>, counter: i64, digests: BTreeMap<SigningKeyId, String>) -> Result<(), StoreError> {
    let counter = counter.checked_add(1).ok_or_else(altered)?;
    let manifest = SigningKeyManifest { counter, digests };
    let tag = tx.encrypt(&manifest.encode(), &[])?;
    diesel::update(signing_key_manifest::table.find(ID))
        .set((
            signing_key_manifest::counter.eq(counter),
            signing_key_manifest::digests.eq(Json(manifest.digests)),
            signing_key_manifest::tag.eq(Some(tag.bytes)),
            signing_key_manifest::master_version.eq(Some(tag.master_version)),
        ))
        .execute_in(tx)
}
