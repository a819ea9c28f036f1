//! `Idempotency-Key`: a request that creates an object or a secret and is sent twice creates one.

use crate::{
    crypto::sha256,
    service::Error,
    store::{self, Lock, StoreError, Tx, common::idempotency::StoredResult},
};

/// The idempotency key of a request, with a hash of the request.
#[derive(Debug, Clone)]
pub struct IdempotencyRequest {
    pub key: String,
    /// SHA-256 over method, path and body, in hexadecimal.
    pub request_hash: String,
}

/// The result of a request with an idempotency key: what it created, or the object of an earlier
/// request.
#[derive(Debug)]
pub enum IdempotentOutcome<N, T> {
    New(N),
    /// The current state of the object, without its secret.
    Existing(T),
}

/// Returns the id of the object that an earlier request with the same key has created or given a
/// new secret, and reserves the key until the transaction ends. It precedes the preconditions of
/// the request: the earlier request has changed the version.
///
/// Returns `Error::InFlight` if a concurrent request uses the key, and `Error::IdempotencyMismatch`
/// if a different request has used it.
pub(crate) fn earlier(tx: &mut Tx<'_>, idempotency: Option<&IdempotencyRequest>) -> Result<Option<String>, Error> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let actor = tx.idempotency_scope();
    if !tx.try_lock(lock(&actor, &idempotency.key))? {
        return Err(Error::IdempotencyInFlight);
    }
    match store::common::idempotency::find(tx, &actor, &idempotency.key)? {
        None => Ok(None),
        Some(earlier) if earlier.request_hash == idempotency.request_hash => Ok(Some(earlier.object_id)),
        Some(_) => Err(Error::IdempotencyMismatch),
    }
}

/// Records under the idempotency key the object that was created or got a new secret.
pub(crate) fn record_object(
    tx: &mut Tx<'_>,
    idempotency: Option<&IdempotencyRequest>,
    object_id: &str,
) -> Result<(), StoreError> {
    let Some(idempotency) = idempotency else { return Ok(()) };
    let made = StoredResult { request_hash: idempotency.request_hash.clone(), object_id: object_id.to_owned() };
    let actor = tx.idempotency_scope();
    store::common::idempotency::insert_result(tx, &actor, &idempotency.key, &made)
}

fn lock(actor: &str, key: &str) -> Lock {
    let digest = sha256(format!("idempotency|{actor}|{key}").as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = digest;
    Lock::IdempotencyKey(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
}
