//! A connection pool with the operations that wait for it and the batch loader that uses it.

use crate::store::{
    database_lease::DatabaseLease, lookup_queue::BatchLoader, operation_limits::OperationPermits, pool,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// A connection pool with the operations that wait for it and the batch loader that uses it.
pub(crate) struct PoolState {
    pub(crate) pool: pool::Pool,
    pub(crate) lease: Arc<DatabaseLease>,
    /// One permit per connection, not counting the connections of the batch loader. An operation
    /// waits here without occupying a thread.
    pub(crate) permits: OperationPermits,
    pub(crate) batch_loader: BatchLoader,
    pub(crate) created_at: Instant,
    /// When an operation, a batch of lookups or a connection attempt last completed, in
    /// milliseconds since `created_at`.
    pub(crate) last_response_ms: AtomicU64,
    /// When a batch of lookups last completed, in milliseconds since `created_at`.
    pub(crate) last_batch_ms: AtomicU64,
}

impl PoolState {
    pub(crate) fn new(make: &pool::PoolFactory) -> Self {
        let pool = make.create_pool();
        let permits = OperationPermits::divide(make.max_concurrent_operations());
        Self {
            pool,
            lease: Arc::clone(make.lease()),
            permits,
            batch_loader: BatchLoader::default(),
            created_at: Instant::now(),
            last_response_ms: AtomicU64::new(0),
            last_batch_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn record_response(&self) {
        self.last_response_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    pub(crate) fn record_batch(&self) {
        self.last_batch_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Returns whether no operation has completed for longer than `limit`. Callers ask only
    /// after one of their waits has timed out.
    pub(crate) fn is_unresponsive(&self, limit: Duration) -> bool {
        self.has_no_response_since(&self.last_response_ms, limit)
    }

    pub(crate) fn has_no_response_since(&self, last: &AtomicU64, limit: Duration) -> bool {
        u128::from(self.elapsed_ms().saturating_sub(last.load(Ordering::Relaxed))) > limit.as_millis()
    }
}
