//! A connection pool with the operations that wait for it and the batch loader that uses it.

use crate::store::{lookup_queue::Gather, pool};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// A connection pool with the operations that wait for it and the batch loader that uses it.
pub(crate) struct Line {
    pub(crate) pool: pool::Pool,
    /// One permit per connection, not counting the connections of the batch loader. An operation
    /// waits here without occupying a thread.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) gather: Gather,
    pub(crate) made_at: Instant,
    /// When an operation, a batch of lookups or a connection attempt last completed, in
    /// milliseconds since `made_at`.
    pub(crate) answered_at: AtomicU64,
    /// When a batch of lookups last completed, in milliseconds since `made_at`.
    pub(crate) gathered_at: AtomicU64,
}

impl Line {
    pub(crate) fn new(make: &pool::MakePool) -> Self {
        let pool = make.pool();
        let permits = Arc::new(Semaphore::new(make.permits()));
        Self {
            pool,
            permits,
            gather: Gather::default(),
            made_at: Instant::now(),
            answered_at: AtomicU64::new(0),
            gathered_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn age(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn answered(&self) {
        self.answered_at.store(self.age(), Ordering::Relaxed);
    }

    pub(crate) fn gathered(&self) {
        self.gathered_at.store(self.age(), Ordering::Relaxed);
    }

    /// Returns whether no operation has completed for longer than `patience`. Callers ask only
    /// after one of their waits has timed out.
    pub(crate) fn is_silent(&self, patience: Duration) -> bool {
        self.is_silent_since(&self.answered_at, patience)
    }

    pub(crate) fn is_silent_since(&self, last: &AtomicU64, patience: Duration) -> bool {
        u128::from(self.age().saturating_sub(last.load(Ordering::Relaxed))) > patience.as_millis()
    }
}
