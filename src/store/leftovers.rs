//! Rows that have served their time.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::domain::time::Span;

use super::{
    change::Tx,
    error::StoreError,
    schema::{key_usage, key_windows, portal_sessions},
};

const DAY: Span = Span::from_secs(24 * 3600);
const MINUTE: Span = Span::from_secs(60);
/// How long the use of a key is remembered, in days: a year can be compared with the one before.
const USAGE_KEPT: i64 = 400;

/// Throws away sessions that ended a day ago, limits that count for a minute long past, and the use of keys that is too old to show.
///
/// # Errors
/// The database does not answer.
pub fn forget_old(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let now = tx.now();
    let sessions = portal_sessions::table.filter(portal_sessions::expires_at.lt(now.before(DAY).millis()));
    // One row for each key with a limit and no more: there is nothing to gain from an index that every exchange would have to keep.
    let windows = key_windows::table.filter(key_windows::minute.lt(now.before(DAY).millis() / MINUTE.millis()));
    let usage = key_usage::table.filter(key_usage::day.lt(now.millis() / DAY.millis() - USAGE_KEPT));
    let mut forgotten = diesel::delete(sessions).execute(&mut **tx)?;
    forgotten += diesel::delete(windows).execute(&mut **tx)?;
    forgotten += diesel::delete(usage).execute(&mut **tx)?;
    Ok(forgotten)
}
