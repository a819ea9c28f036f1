//! Idempotency keys: which request created which object, for 24 hours. The row is written in the
//! same transaction as the object, so a crash leaves both or neither.

use crate::{
    domain::common::time::Span,
    store::{prelude::*, schema::idempotency_keys},
};

/// The retention of an idempotency key.
pub const RETENTION: Span = Span::from_secs(24 * 3600);

/// The object that was created under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = idempotency_keys)]
pub struct StoredResult {
    /// The SHA-256 digest of the request, in hexadecimal.
    pub request_hash: String,
    pub object_id: String,
}

pub fn find(tx: &mut Tx<'_>, actor: &str, key: &str) -> Result<Option<StoredResult>, StoreError> {
    let since = tx.now().minus(RETENTION);
    idempotency_keys::table
        .find((actor, key))
        .filter(idempotency_keys::created_at.gt(since))
        .select(StoredResult::as_select())
        .load_first(tx)
}

/// Stores the object that was created. It replaces a row that is older than `RETENTION`.
pub fn insert_result(tx: &mut Tx<'_>, actor: &str, key: &str, made: &StoredResult) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::delete(idempotency_keys::table.find((actor, key))).execute_in(tx)?;
    diesel::insert_into(idempotency_keys::table)
        .values(values!(idempotency_keys, made =>
            actor = actor, idempotency_key = key, request_hash, object_id, created_at = now,
        ))
        .execute_in(tx)
}

/// Deletes the rows that are older than `RETENTION` and returns how many were deleted.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let since = tx.now().minus(RETENTION);
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.le(since));
    diesel::delete(old).count_affected(tx)
}
