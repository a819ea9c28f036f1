//! How far the background check has verified the audit log.

use std::sync::{Mutex, PoisonError};

/// The last event that was verified, with its hash. `None` before the first event.
#[derive(Debug, Default)]
pub struct VerifiedEvents(Mutex<Option<(i64, String)>>);

impl VerifiedEvents {
    pub(crate) fn get(&self) -> Option<(i64, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, last: Option<(i64, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}
