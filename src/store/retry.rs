//! Repeats changes that PostgreSQL rolled back in favor of a concurrent transaction.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::{domain::common::entropy::Entropy, store::error::StoreError};

/// Maximum number of attempts of one change after the first.
pub(crate) const MAX_RETRIES: u32 = 5;
/// The longest wait before the first retry. It doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// The message of SQLSTATE 40P01. Each session asks for untranslated messages.
const DEADLOCK_MESSAGE: &str = "deadlock detected";

/// The error of a change. The store repeats a change whose error has one of its own as the cause.
pub trait ChangeError: From<StoreError> {
    /// Returns the error of the store that is the cause of this one, if there is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl ChangeError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Why PostgreSQL rolled back a change that can succeed if it is repeated. The server reports both
/// after it has rolled back, so nothing of the change is left, even if the commit reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// SQLSTATE 40001.
    SerializationFailure,
    /// SQLSTATE 40P01.
    Deadlock,
}

impl RetryReason {
    pub const ALL: [Self; 2] = [Self::SerializationFailure, Self::Deadlock];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SerializationFailure => "serialization_failure",
            Self::Deadlock => "deadlock",
        }
    }

    /// Returns `None` for an error after which the change is not repeated. A lost connection is
    /// one: the change may have been committed.
    pub(crate) fn of(error: &StoreError) -> Option<Self> {
        let StoreError::Unavailable(cause) = error else { return None };
        let Some(DieselError::DatabaseError(kind, information)) = cause.downcast_ref::<DieselError>() else {
            return None;
        };
        if matches!(kind, DatabaseErrorKind::SerializationFailure) {
            return Some(Self::SerializationFailure);
        }
        // Diesel has no kind for a deadlock, and does not disclose the SQLSTATE.
        let is_deadlock = matches!(kind, DatabaseErrorKind::Unknown) && information.message() == DEADLOCK_MESSAGE;
        is_deadlock.then_some(Self::Deadlock)
    }
}

/// Returns how long to wait before a retry; the first one has the number 1. A random half of the
/// wait keeps changes that collided from colliding again.
pub(crate) fn wait_before(retry: u32, entropy: &dyn Entropy) -> Duration {
    let half = FIRST_WAIT * 2_u32.saturating_pow(retry.saturating_sub(1)) / 2;
    let mut random = [u8::MAX];
    // Without randomness, the wait is the longest.
    let _ = entropy.fill(&mut random);
    half + half * u32::from(random[0]) / u32::from(u8::MAX)
}

/// How many retries there were since the start.
#[derive(Debug, Default)]
pub struct RetryCounts {
    serialization_failures: AtomicU64,
    deadlocks: AtomicU64,
}

impl RetryCounts {
    const fn counter(&self, reason: RetryReason) -> &AtomicU64 {
        match reason {
            RetryReason::SerializationFailure => &self.serialization_failures,
            RetryReason::Deadlock => &self.deadlocks,
        }
    }

    pub(crate) fn record(&self, reason: RetryReason) {
        self.counter(reason).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self, reason: RetryReason) -> u64 {
        self.counter(reason).load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use diesel::result::DatabaseErrorInformation;

    use super::*;
    use crate::domain::common::entropy::EntropyUnavailable;

    /// An error of PostgreSQL with this message.
    struct Message(&'static str);

    impl DatabaseErrorInformation for Message {
        fn message(&self) -> &str {
            self.0
        }
        fn details(&self) -> Option<&str> {
            None
        }
        fn hint(&self) -> Option<&str> {
            None
        }
        fn table_name(&self) -> Option<&str> {
            None
        }
        fn column_name(&self) -> Option<&str> {
            None
        }
        fn constraint_name(&self) -> Option<&str> {
            None
        }
        fn statement_position(&self) -> Option<i32> {
            None
        }
    }

    fn reason(kind: DatabaseErrorKind, message: &'static str) -> Option<RetryReason> {
        RetryReason::of(&StoreError::from(DieselError::DatabaseError(kind, Box::new(Message(message)))))
    }

    #[test]
    fn only_what_was_rolled_back_is_repeated() {
        let serialization = reason(DatabaseErrorKind::SerializationFailure, "in any language");
        assert_eq!(serialization, Some(RetryReason::SerializationFailure));
        assert_eq!(reason(DatabaseErrorKind::Unknown, DEADLOCK_MESSAGE), Some(RetryReason::Deadlock));
        for (kind, message) in [
            (DatabaseErrorKind::Unknown, "canceling statement due to lock timeout"),
            (DatabaseErrorKind::ClosedConnection, "server closed the connection unexpectedly"),
            (DatabaseErrorKind::ClosedConnection, DEADLOCK_MESSAGE),
            (DatabaseErrorKind::UniqueViolation, "duplicate key value violates unique constraint"),
            (DatabaseErrorKind::ReadOnlyTransaction, "cannot execute UPDATE in a read-only transaction"),
        ] {
            assert_eq!(reason(kind, message), None, "{message}");
        }
        assert_eq!(RetryReason::of(&StoreError::unavailable("it does not answer")), None);
    }

    struct Constant(Result<u8, EntropyUnavailable>);

    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
            bytes.fill(self.0?);
            Ok(())
        }
    }

    #[test]
    fn waits_double_and_are_short() {
        for (random, share) in [(Ok(0), 1), (Ok(255), 2), (Err(EntropyUnavailable), 2)] {
            let waits: Vec<_> = (1..=MAX_RETRIES).map(|retry| wait_before(retry, &Constant(random))).collect();
            let expected: Vec<_> = (0..MAX_RETRIES).map(|power| FIRST_WAIT * 2_u32.pow(power) * share / 2).collect();
            assert_eq!(waits, expected);
            assert!(waits.iter().sum::<Duration>() < Duration::from_millis(200));
        }
    }
}
