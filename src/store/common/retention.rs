//! Retention of expired rows.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::{
    domain::common::time::Span,
    store::{
        error::StoreError,
        schema::{key_usage, portal_sessions, rate_limit_windows},
        transaction::Tx,
    },
};

const DAY: Span = Span::from_secs(24 * 3600);
const MINUTE: Span = Span::from_secs(60);
/// The retention of usage counts, in days. It exceeds one year.
const USAGE_RETENTION_DAYS: i64 = 400;

/// Deletes portal sessions that expired more than a day ago, rate limit windows that are more than
/// a day old, and usage counts that are past their retention.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let now = tx.now();
    let sessions = portal_sessions::table.filter(portal_sessions::expires_at.lt(now.minus(DAY).millis()));
    // There is one row for each key with a limit, so this scan needs no index, which every such
    // exchange would have to maintain.
    let windows =
        rate_limit_windows::table.filter(rate_limit_windows::minute.lt(now.minus(DAY).millis() / MINUTE.millis()));
    let usage = key_usage::table.filter(key_usage::day.lt(now.millis() / DAY.millis() - USAGE_RETENTION_DAYS));
    let mut forgotten = diesel::delete(sessions).execute(&mut **tx)?;
    forgotten += diesel::delete(windows).execute(&mut **tx)?;
    forgotten += diesel::delete(usage).execute(&mut **tx)?;
    Ok(forgotten)
}
