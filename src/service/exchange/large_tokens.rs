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

/// Maximum number of keys that are logged in an hour. It bounds the memory and the log.
const MAX_LOGGED_KEYS: usize = 100;

impl LoggedLargeTokens {
    /// Returns whether to log a large token of this key, and records that it was logged.
    pub(super) fn should_log(&self, key: &KeyId, now: Timestamp) -> bool {
        let number = now.seconds().div_euclid(3600);
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.number != number {
            *logged = LoggedHour { number, keys: HashSet::new() };
        }
        let is_logged = logged.keys.len() < MAX_LOGGED_KEYS && logged.keys.insert(key.clone());
        if is_logged && logged.keys.len() == MAX_LOGGED_KEYS {
            tracing::warn!(
                "{MAX_LOGGED_KEYS} keys were logged for large tokens in this hour; those of other keys are only counted \
                 until the next one"
            );
        }
        is_logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> KeyId {
        format!("key_01JD{number:022}").parse().unwrap()
    }

    #[test]
    fn a_key_is_logged_once_per_hour() {
        let logged = LoggedLargeTokens::default();
        for hour in 1..3 {
            let now = Timestamp::from_millis(hour * 3_600_000);
            assert!(logged.should_log(&key(0), now));
            assert!(!logged.should_log(&key(0), now));
            assert!(logged.should_log(&key(1), now));
        }
    }

    #[test]
    fn a_limited_number_of_keys_is_logged_per_hour() {
        let logged = LoggedLargeTokens::default();
        for hour in 1..3 {
            let now = Timestamp::from_millis(hour * 3_600_000);
            let count = (0..2 * MAX_LOGGED_KEYS).filter(|number| logged.should_log(&key(*number), now)).count();
            assert_eq!(count, MAX_LOGGED_KEYS);
        }
    }
}
