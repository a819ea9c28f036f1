//! How many operations may use a connection, or wait for one, at once. Each kind of operations has
//! permits of its own, so that no kind can take all connections (invariant 16).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an operation does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    Read,
    Change,
    /// Counts what clients can cause as fast as they can send requests.
    Count,
}

/// The number of permits of each kind. Kinds share the permits of a pool that is too small for
/// three parts.
#[derive(Debug, Clone)]
pub struct OperationPermits {
    read: Arc<Semaphore>,
    change: Arc<Semaphore>,
    count: Arc<Semaphore>,
}

impl OperationPermits {
    /// Divides the connections of a pool.
    pub fn divide(connections: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        if connections < 3 {
            let shared = semaphore(connections);
            return Self { read: Arc::clone(&shared), change: Arc::clone(&shared), count: shared };
        }
        let count = (connections / 4).max(1);
        let change = (connections - count) / 2;
        Self { read: semaphore(connections - count - change), change: semaphore(change), count: semaphore(count) }
    }

    /// Gives each kind the same number.
    pub fn each(permits: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(permits));
        Self { read: semaphore(), change: semaphore(), count: semaphore() }
    }

    pub fn of(&self, kind: OperationKind) -> &Arc<Semaphore> {
        match kind {
            OperationKind::Read => &self.read,
            OperationKind::Change => &self.change,
            OperationKind::Count => &self.count,
        }
    }

    /// Returns a permit at once, or `None` if all of the kind are taken.
    pub fn try_acquire(&self, kind: OperationKind) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.of(kind)).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_connection_and_together_they_have_all() {
        for connections in 3..=512 {
            let permits = OperationPermits::divide(connections);
            let parts = [&permits.read, &permits.change, &permits.count].map(|part| part.available_permits());
            assert_eq!(parts.iter().sum::<usize>(), connections);
            assert!(parts.iter().all(|part| *part >= 1), "{connections}: {parts:?}");
        }
        for connections in [1, 2] {
            let permits = OperationPermits::divide(connections);
            let _held: Vec<_> = (0..connections).map(|_| permits.try_acquire(OperationKind::Count).unwrap()).collect();
            assert!(permits.try_acquire(OperationKind::Read).is_none(), "a small pool is shared");
        }
    }
}
