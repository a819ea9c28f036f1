//! `Idempotency-Key`: a creating call that is sent twice makes one thing.

use crate::{
    crypto::sha256,
    store::{self, StoreError, Tx, idempotency::Earlier},
};

use super::Error;

/// The key a client sent, and what it sent with it.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 in hex over method, path and body.
    pub request_hash: String,
}

/// What a creating call made, now or before.
#[derive(Debug)]
pub enum Created<N, T> {
    New(N),
    /// The object as it is now, without its secret.
    Replayed(T),
}

/// The id that was made under the same key before, if any. Until the change ends nobody else can use the key.
///
/// # Errors
/// Another request with this key is in flight, or the key came with another request.
pub(super) fn earlier(tx: &mut Tx<'_>, idempotency: Option<&Idempotency>) -> Result<Option<String>, Error> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let actor = tx.idempotency_actor();
    if !store::try_lock(tx, lock_of(&actor, &idempotency.key))? {
        return Err(Error::InFlight);
    }
    match store::idempotency::find(tx, &actor, &idempotency.key)? {
        None => Ok(None),
        Some(earlier) if earlier.request_hash == idempotency.request_hash => Ok(Some(earlier.object_id)),
        Some(_) => Err(Error::IdempotencyMismatch),
    }
}

/// Remembers what was made.
///
/// # Errors
/// The database does not answer.
pub(super) fn remember(tx: &mut Tx<'_>, idempotency: Option<&Idempotency>, object_id: &str) -> Result<(), StoreError> {
    let Some(idempotency) = idempotency else { return Ok(()) };
    let made = Earlier { request_hash: idempotency.request_hash.clone(), object_id: object_id.to_owned() };
    let actor = tx.idempotency_actor();
    store::idempotency::remember(tx, &actor, &idempotency.key, &made)
}

fn lock_of(actor: &str, key: &str) -> i64 {
    let digest = sha256(format!("idempotency|{actor}|{key}").as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = digest;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}
