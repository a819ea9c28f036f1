//! Idempotency keys: which request created which object, for 24 hours. The row is written in the
//! same transaction as the object, so a crash leaves both or neither.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};

use crate::{
    domain::common::time::{Span, Timestamp},
    store::{error::StoreError, schema::idempotency_keys, transaction::Tx},
};

/// The retention of an idempotency key.
pub const RETENTION: Span = Span::from_secs(24 * 3600);

/// The object that was created under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The SHA-256 digest of the request, in hexadecimal.
    pub request_hash: String,
    pub object_id: String,
}

pub fn find(tx: &mut Tx<'_>, actor: &str, key: &str) -> Result<Option<StoredResult>, StoreError> {
    let since = retention_cutoff(tx.now());
    let row: Option<(String, String)> = idempotency_keys::table
        .find((actor, key))
        .filter(idempotency_keys::created_at.gt(since))
        .select((idempotency_keys::request_hash, idempotency_keys::object_id))
        .first(&mut **tx)
        .optional()?;
    Ok(row.map(|(request_hash, object_id)| StoredResult { request_hash, object_id }))
}

/// Stores the object that was created. It replaces a row that is older than `RETENTION`.
pub fn insert_result(tx: &mut Tx<'_>, actor: &str, key: &str, made: &StoredResult) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::delete(idempotency_keys::table.find((actor, key))).execute(&mut **tx)?;
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::actor.eq(actor),
            idempotency_keys::idempotency_key.eq(key),
            idempotency_keys::request_hash.eq(made.request_hash.as_str()),
            idempotency_keys::object_id.eq(made.object_id.as_str()),
            idempotency_keys::created_at.eq(now),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Deletes the rows that are older than `RETENTION` and returns how many were deleted.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let since = retention_cutoff(tx.now());
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.le(since));
    Ok(diesel::delete(old).execute(&mut **tx)?)
}

fn retention_cutoff(now: Timestamp) -> i64 {
    now.millis().saturating_sub(RETENTION.millis())
}
