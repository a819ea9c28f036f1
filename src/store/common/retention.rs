//! Retention of expired rows.

use crate::{
    domain::{
        common::time::Span,
        exchange::usage::{UtcDay, minute_number},
    },
    store::{
        prelude::*,
        schema::{key_usage, portal_sessions, rate_limit_windows},
    },
};

const DAY: Span = Span::from_secs(24 * 3600);
/// The retention of usage counts, in days. It exceeds one year.
const USAGE_RETENTION_DAYS: i64 = 400;

/// Deletes portal sessions that expired more than a day ago, rate limit windows that are more than
/// a day old, and usage counts that are past their retention.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let now = tx.now();
    let sessions = portal_sessions::table.filter(portal_sessions::expires_at.lt(now.minus(DAY)));
    // There is one row for each key with a limit, so this scan needs no index, which every such
    // exchange would have to maintain.
    let windows = rate_limit_windows::table.filter(rate_limit_windows::minute.lt(minute_number(now.minus(DAY))));
    let usage = key_usage::table
        .filter(key_usage::day.lt(UtcDay::from_number(UtcDay::of(now).number() - USAGE_RETENTION_DAYS)));
    let mut forgotten = diesel::delete(sessions).count_affected(tx)?;
    forgotten += diesel::delete(windows).count_affected(tx)?;
    forgotten += diesel::delete(usage).count_affected(tx)?;
    Ok(forgotten)
}
