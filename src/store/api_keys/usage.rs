//! The number of uses of each key, by day.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    store::{dialect::bulk, error::StoreError, pool::Conn, schema::key_usage, transaction::Tx},
};

/// Adds to the stored counts. `uses` must contain each day of a key at most once.
pub fn add_counts(tx: &mut Tx<'_>, uses: &[((KeyId, UtcDay), i64)]) -> Result<(), StoreError> {
    if uses.is_empty() { Ok(()) } else { bulk::increment_usage_counts(tx, uses) }
}

/// Returns the uses of a key since the day `first`. Days without uses are omitted.
pub fn list_since(connection: &mut Conn, key: &KeyId, first: UtcDay) -> Result<BTreeMap<UtcDay, i64>, StoreError> {
    let rows: Vec<(UtcDay, i64)> = key_usage::table
        .filter(key_usage::key_id.eq(key))
        .filter(key_usage::day.ge(first))
        .select((key_usage::day, key_usage::uses))
        .load(connection)?;
    Ok(rows.into_iter().collect())
}
