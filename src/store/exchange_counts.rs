//! The results of exchanges, counted by hour.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    domain::{common::time::Span, exchange::usage::UtcHour},
    store::{
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::exchange_counts,
    },
};

/// The retention of counts. It exceeds the period that `/v1` returns, so that this period can be
/// extended later.
const RETENTION: Span = Span::from_secs(100 * 24 * 3600);

#[derive(Serialize)]
struct Row<'a> {
    hour: i64,
    result: &'a str,
    exchanges: i64,
}

const BULK: BulkTable = BulkTable {
    table: "exchange_counts",
    read_from: "exchange_counts",
    columns: &["hour", "result", "exchanges"],
    key: 2,
    on_conflict: "ON CONFLICT (hour, result) DO UPDATE SET exchanges = exchange_counts.exchanges + excluded.exchanges",
};

/// Adds to the counts of the current hour.
pub fn add(tx: &mut Tx<'_>, counted: &BTreeMap<&'static str, i64>) -> Result<(), StoreError> {
    let hour = UtcHour::of(tx.now()).number();
    let rows: Vec<_> = counted.iter().map(|(result, exchanges)| Row { hour, result, exchanges: *exchanges }).collect();
    bulk::upsert_rows(tx, &BULK, &rows).map(drop)
}

/// Returns the counts since the hour `first`, by hour and result.
pub fn read_counts_since(
    connection: &mut Conn,
    first: UtcHour,
) -> Result<BTreeMap<UtcHour, BTreeMap<String, i64>>, StoreError> {
    let rows: Vec<(UtcHour, String, i64)> =
        exchange_counts::table.filter(exchange_counts::hour.ge(first)).load_all(connection)?;
    let mut counted: BTreeMap<UtcHour, BTreeMap<String, i64>> = BTreeMap::new();
    for (hour, result, exchanges) in rows {
        counted.entry(hour).or_default().insert(result, exchanges);
    }
    Ok(counted)
}

/// Deletes counts that are past their retention.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let first = UtcHour::of(tx.now().minus(RETENTION));
    diesel::delete(exchange_counts::table.filter(exchange_counts::hour.lt(first))).execute_in(tx)
}
