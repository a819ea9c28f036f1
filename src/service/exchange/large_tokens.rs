//! Keys whose large tokens were logged, in bounded memory.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::domain::common::{id::KeyId, time::Timestamp};

/// The keys that were logged in the current hour. A client exchanges a key every few minutes, and
/// one line in an hour is enough.
#[derive(Debug, Default)]
pub struct LoggedLargeTokens(Mutex<LoggedHour>);

#[derive(Debug, Default)]
struct LoggedHour {
    /// Hours since 1970-01-01T00:00:00Z.
    number: i64,
    keys: HashSet<KeyId>,
}

/// Maximum number of lines in an hour.
const MAX_LOGGED_KEYS: usize = 100;

impl LoggedLargeTokens {
    /// Returns whether the key is to be logged: once in an hour.
    pub(super) fn insert(&self, key: &KeyId, now: Timestamp) -> bool {
        let number = now.seconds().div_euclid(3600);
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.number != number {
            *logged = LoggedHour { number, keys: HashSet::new() };
        }
        logged.keys.len() < MAX_LOGGED_KEYS && logged.keys.insert(key.clone())
    }
}
