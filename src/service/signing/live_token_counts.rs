//! Tokens issued since the last flush, by signing key and minute of expiration.

use crate::domain::common::derived_id::SigningKeyId;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(crate) const MINUTE: i64 = 60;

/// Counts that are not yet written, by key and by the end of the minute in which the token expires,
/// in minutes since the Unix epoch.
#[derive(Default)]
pub struct LiveTokenCounts(Mutex<BTreeMap<SigningKeyId, BTreeMap<i64, i64>>>);

impl fmt::Debug for LiveTokenCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveTokens")
    }
}

impl LiveTokenCounts {
    /// Counts a token signed by `kid` that expires at `expires_at`, in seconds since the Unix
    /// epoch.
    pub fn count(&self, kid: &SigningKeyId, expires_at: i64) {
        self.add(kid, expires_at.div_euclid(MINUTE) + 1, 1);
    }

    pub(crate) fn add(&self, kid: &SigningKeyId, minute: i64, tokens: i64) {
        let mut all = self.lock();
        // Nearly every token is signed by a key that already has an entry: its kid is not cloned.
        let minutes = match all.get_mut(kid) {
            Some(minutes) => minutes,
            None => all.entry(kid.clone()).or_default(),
        };
        *minutes.entry(minute).or_default() += tokens;
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<SigningKeyId, BTreeMap<i64, i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
