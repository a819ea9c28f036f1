//! The rate limit of a key, in exchanges per minute. The database counts the exchanges, so the
//! limit applies to all replicas together. A key without a limit costs no transaction, and neither
//! does a key that has spent its exchanges.

use crate::{
    domain::{
        common::time::Timestamp,
        exchange::{
            key_context::KeyProperties,
            usage::{RateLimitWindow, minute_number},
        },
    },
    service::{Services, credentials::error::AuthError},
    store::{self, NoEvent},
};

/// Counts an exchange and returns the state of the limit, or `None` if the key has no limit.
/// Returns `AuthError::Limited` if no exchange is left in the current minute. `now` is the time at
/// which the key was read.
pub(crate) async fn count_exchange(
    services: &Services,
    key: &KeyProperties,
    now: Timestamp,
) -> Result<Option<RateLimitWindow>, AuthError> {
    let Some(limit) = key.exchanges_per_minute else { return Ok(None) };
    if services.spent_limits.contains(&key.id, minute_number(now), limit) {
        return Err(AuthError::Limited(RateLimitWindow::at(now, limit, 0)));
    }
    let id = key.id.clone();
    let counted = services.store.run_count(NoEvent::Counter, move |tx| {
        Ok((store::credentials::rate_windows::count_exchange(tx, &id, limit)?, tx.now()))
    });
    // Few keys have a limit, and the future of each exchange would contain this one.
    match Box::pin(counted).await? {
        (Some(left), now) => Ok(Some(RateLimitWindow::at(now, limit, left))),
        (None, now) => {
            services.spent_limits.insert(key.id.clone(), minute_number(now), limit);
            Err(AuthError::Limited(RateLimitWindow::at(now, limit, 0)))
        }
    }
}
