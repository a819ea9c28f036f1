//! Keys that have spent their rate limit, in bounded memory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::common::id::KeyId;

/// Keys that have spent their exchanges of the current minute. They stay refused until the minute
/// ends or their limit changes, whatever other replicas count.
#[derive(Debug, Default)]
pub struct SpentLimits(Mutex<SpentMinute>);

#[derive(Debug, Default)]
struct SpentMinute {
    /// See `minute_number`.
    number: i64,
    limits: HashMap<KeyId, u32>,
}

/// Maximum number of remembered keys. Any further key costs a transaction for each refusal.
const MAX_SPENT_KEYS: usize = 10_000;

impl SpentLimits {
    /// Returns whether the key has spent this limit in the minute.
    pub(crate) fn contains(&self, key: &KeyId, minute: i64, limit: u32) -> bool {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.number == minute && spent.limits.get(key) == Some(&limit)
    }

    pub(crate) fn insert(&self, key: KeyId, minute: i64, limit: u32) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.number != minute {
            *spent = SpentMinute { number: minute, limits: HashMap::new() };
        }
        if spent.limits.len() < MAX_SPENT_KEYS {
            spent.limits.insert(key, limit);
        }
    }
}
