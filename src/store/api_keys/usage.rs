//! The number of uses of each key, by day.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    store::{
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::key_usage,
    },
};

const BULK: BulkTable = BulkTable {
    table: "key_usage",
    read_from: "key_usage",
    columns: &["key_id", "day", "uses"],
    key: 2,
    on_conflict: "ON CONFLICT (key_id, day) DO UPDATE SET uses = key_usage.uses + excluded.uses",
};

#[derive(Serialize)]
struct Row<'a> {
    key_id: &'a KeyId,
    day: i64,
    uses: i64,
}

/// Adds to the stored counts. `uses` must contain each day of a key at most once.
pub fn add_counts(tx: &mut Tx<'_>, uses: &[((KeyId, UtcDay), i64)]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        uses.iter().map(|((key_id, day), uses)| Row { key_id, day: day.number(), uses: *uses }).collect();
    bulk::upsert_rows(tx, &BULK, &rows).map(drop)
}

/// Returns the uses of a key since the day `first`. Days without uses are omitted.
pub fn list_since(connection: &mut Conn, key: &KeyId, first: UtcDay) -> Result<BTreeMap<UtcDay, i64>, StoreError> {
    let rows: Vec<(UtcDay, i64)> = key_usage::table
        .filter(key_usage::key_id.eq(key))
        .filter(key_usage::day.ge(first))
        .select((key_usage::day, key_usage::uses))
        .load_all(connection)?;
    Ok(rows.into_iter().collect())
}
