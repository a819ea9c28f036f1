//! Signing keys: their states and their encrypted private keys.

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        signing::{SigningKeyMetadata, SigningKeyState},
    },
    store::{
        prelude::*,
        schema::signing_keys,
        signing::{manifest, stored_keys::StoredSigningKey},
    },
};

/// Returns `Conflict` if the key exists, or if its state is `Next` or `Active` and another key of
/// its algorithm is in that state.
pub fn insert(tx: &mut Tx<'_>, key: &StoredSigningKey) -> Result<(), StoreError> {
    manifest::begin_insert(tx, &key.info.kid)?;
    diesel::insert_into(signing_keys::table)
        .values(values!(signing_keys, key.info =>
            kid, algorithm, state, public_jwk = &key.public_jwk,
            encrypted_private_key = key.encrypted_private_key.as_ref().map(|encrypted| &encrypted.bytes),
            master_version = key.encrypted_private_key.as_ref().map(|encrypted| encrypted.master_version), published_at,
            seen_at, activated_at, longest_ttl, version,
        ))
        .execute_in(tx)
}

/// Moves a key to the state `to`. Returns `false` if it was modified since it was read, and
/// `Conflict` if `to` is `Active` and another key of its algorithm is active.
pub fn transition_state(
    tx: &mut Tx<'_>,
    key: &SigningKeyMetadata,
    to: SigningKeyState,
    at: Timestamp,
) -> Result<bool, StoreError> {
    if to == SigningKeyState::Next {
        return Ok(false);
    }
    manifest::begin_write(tx, &key.kid)?;
    let at = Some(at);
    let row = signing_keys::table.find(&key.kid).filter(signing_keys::version.eq(key.version));
    let changed = diesel::update(row).set((
        signing_keys::state.eq(to),
        signing_keys::version.eq(key.version + 1),
        (to == SigningKeyState::Active).then(|| signing_keys::activated_at.eq(at)),
        (to == SigningKeyState::Retiring).then(|| signing_keys::retired_at.eq(at)),
        (!to.is_published()).then(|| {
            let destroyed_at = signing_keys::destroyed_at.eq(key.destroyed_at.or(at));
            (signing_keys::removed_at.eq(at), destroyed_at, clear_private_key())
        }),
    ));
    Ok(changed.count_affected(tx)? == 1)
}

/// Records `at` as the time at which the publication of keys was first observed. The caller must
/// not be the transaction that published them, which may wait for its commit.
pub fn record_first_observation(tx: &mut Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    let found: i64 = signing_keys::table.filter(signing_keys::seen_at.is_null()).count().load_one(tx)?;
    if found == 0 {
        return Ok(());
    }
    for key in manifest::list_for_change(tx)? {
        if key.info.seen_at.is_none() {
            manifest::begin_write(tx, &key.info.kid)?;
            let row = signing_keys::table.find(&key.info.kid);
            diesel::update(row).set(signing_keys::seen_at.eq(Some(at))).execute_in(tx)?;
        }
    }
    Ok(())
}

/// Destroys the private key of a retiring key, so that later backups do not contain it. Returns
/// `false` if the key is not retiring or its private key is already destroyed.
pub fn destroy_private_key(tx: &mut Tx<'_>, key: &SigningKeyMetadata, at: Timestamp) -> Result<bool, StoreError> {
    manifest::begin_write(tx, &key.kid)?;
    let row = signing_keys::table
        .filter(signing_keys::kid.eq(&key.kid))
        .filter(signing_keys::state.eq(SigningKeyState::Retiring))
        .filter(signing_keys::destroyed_at.is_null());
    let destroyed = (signing_keys::destroyed_at.eq(Some(at)), clear_private_key());
    Ok(diesel::update(row).set(destroyed).count_affected(tx)? == 1)
}

type ClearPrivateKey = (
    diesel::dsl::Eq<signing_keys::encrypted_private_key, Option<Vec<u8>>>,
    diesel::dsl::Eq<signing_keys::master_version, Option<i32>>,
);

fn clear_private_key() -> ClearPrivateKey {
    (signing_keys::encrypted_private_key.eq(None), signing_keys::master_version.eq(None))
}

/// Raises the longest token lifetime that is recorded for each active key to `max_ttl`. It is never
/// lowered.
pub fn raise_max_token_ttl(tx: &mut Tx<'_>, max_ttl: Span) -> Result<(), StoreError> {
    let lower = signing_keys::longest_ttl.lt(max_ttl);
    let found: i64 = signing_keys::table
        .filter(signing_keys::state.eq(SigningKeyState::Active))
        .filter(lower)
        .count()
        .load_one(tx)?;
    if found == 0 {
        return Ok(());
    }
    for key in manifest::list_for_change(tx)? {
        if key.info.state == SigningKeyState::Active && key.info.longest_ttl < max_ttl {
            manifest::begin_write(tx, &key.info.kid)?;
            let row = signing_keys::table.find(&key.info.kid);
            diesel::update(row).set(signing_keys::longest_ttl.eq(max_ttl)).execute_in(tx)?;
        }
    }
    Ok(())
}
