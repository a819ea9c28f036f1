//! What became of the keys that were presented, by the hour.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};
use serde::Serialize;

use crate::domain::{time::Span, usage::Hour};

use super::{
    change::Tx,
    connection::Conn,
    dialect::{self, Bulk},
    error::StoreError,
    schema::exchange_counts,
};

/// How long they are remembered: longer than `/v1` looks back, so that it may look further one day.
const KEPT: Span = Span::from_secs(100 * 24 * 3600);

#[derive(Serialize)]
struct Row<'a> {
    hour: i64,
    result: &'a str,
    exchanges: i64,
}

const BULK: Bulk = Bulk {
    table: "exchange_counts",
    columns: &[("hour", "BIGINT"), ("result", "TEXT"), ("exchanges", "BIGINT")],
    key: 2,
    on_conflict: "ON CONFLICT (hour, result) DO UPDATE SET exchanges = exchange_counts.exchanges + excluded.exchanges",
};

/// Adds to what is counted in the hour of the change. In the order of the results, so that two replicas lock rows in the same order.
///
/// # Errors
/// The database does not answer.
pub fn add(tx: &mut Tx<'_>, counted: &BTreeMap<&'static str, i64>) -> Result<(), StoreError> {
    let hour = Hour::of(tx.now()).number();
    let rows: Vec<_> = counted.iter().map(|(result, exchanges)| Row { hour, result, exchanges: *exchanges }).collect();
    dialect::write_rows(tx, &BULK, &rows)?;
    Ok(())
}

/// What is counted from `first` on: by hour, and by result.
///
/// # Errors
/// The database does not answer.
pub fn since(connection: &mut Conn, first: Hour) -> Result<BTreeMap<Hour, BTreeMap<String, i64>>, StoreError> {
    let rows: Vec<(i64, String, i64)> =
        exchange_counts::table.filter(exchange_counts::hour.ge(first.number())).load(connection)?;
    let mut counted: BTreeMap<Hour, BTreeMap<String, i64>> = BTreeMap::new();
    for (hour, result, exchanges) in rows {
        counted.entry(Hour::from_number(hour)).or_default().insert(result, exchanges);
    }
    Ok(counted)
}

/// Forgets those that are too old to show.
///
/// # Errors
/// The database does not answer.
pub fn forget_old(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let first = Hour::of(tx.now().before(KEPT)).number();
    diesel::delete(exchange_counts::table.filter(exchange_counts::hour.lt(first))).execute(&mut **tx)?;
    Ok(())
}
