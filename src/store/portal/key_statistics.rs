//! Key statistics, by the state that is stored with each key.

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        portal::key_counts::KeyCounts,
    },
    store::{prelude::*, schema::api_keys},
};

/// Counts the keys. The total is counted by an index, and the keys that are not active by partial
/// indexes. Owner status is not considered.
pub fn keys(connection: &mut Conn, now: Timestamp, soon: Span) -> Result<KeyCounts, StoreError> {
    let all: i64 = api_keys::table.count().load_one(connection)?;
    let archived: i64 = api_keys::table.filter(api_keys::deleted_at.is_not_null()).count().load_one(connection)?;
    let there = || api_keys::table.filter(api_keys::deleted_at.is_null());
    let revoked: i64 = there().filter(api_keys::revoked_at.is_not_null()).count().load_one(connection)?;
    let alive = || there().filter(api_keys::revoked_at.is_null());
    let expired: i64 = alive().filter(api_keys::expires_at.le(now)).count().load_one(connection)?;
    let suspended: i64 = alive()
        .filter(api_keys::suspended_at.is_not_null())
        .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now)))
        .count()
        .load_one(connection)?;
    let expiring_soon: i64 = alive()
        .filter(api_keys::suspended_at.is_null())
        .filter(api_keys::expires_at.gt(now))
        .filter(api_keys::expires_at.le(now.plus(soon)))
        .count()
        .load_one(connection)?;
    let active = (all - archived - revoked - expired - suspended).max(0);
    Ok(KeyCounts { active, suspended, expired, revoked, expiring_soon })
}
