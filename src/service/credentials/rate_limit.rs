//! The rate limit of a key, in exchanges per minute. The database counts the exchanges, so the
//! limit applies to all replicas together. A key without a limit costs no transaction.

use crate::{
    domain::exchange::{key_context::KeyProperties, usage::RateLimitWindow},
    service::{Services, credentials::error::AuthError},
    store::{self, NoEvent},
};

/// Counts an exchange and returns the state of the limit, or `None` if the key has no limit.
/// Returns `AuthError::Limited` if no exchange is left in the current minute.
pub(crate) async fn count_exchange(
    services: &Services,
    key: &KeyProperties,
) -> Result<Option<RateLimitWindow>, AuthError> {
    let Some(limit) = key.exchanges_per_minute else { return Ok(None) };
    let id = key.id.clone();
    let counted = services.store.run_internal(NoEvent::Counter, move |tx| {
        Ok((store::credentials::rate_windows::count_exchange(tx, &id, limit)?, tx.now()))
    });
    match counted.await? {
        (Some(left), now) => Ok(Some(RateLimitWindow::at(now, limit, left))),
        (None, now) => Err(AuthError::Limited(RateLimitWindow::at(now, limit, 0))),
    }
}
