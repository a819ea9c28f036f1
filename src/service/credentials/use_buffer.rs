//! Last-used times of credentials and daily use counts of keys. Exchanges record them in memory,
//! and jobs write them in batches.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::Notify;

use crate::{
    domain::{
        common::{derived_id::CredentialId, time::Timestamp},
        exchange::usage::{CredentialUses, UtcDay},
    },
    service::{common::write_buffer::BATCH_SIZE, credentials::pending_uses::PendingUses},
    store::{NoEvent, Store, StoreError, credentials::credential_usage},
};

/// Number of waiting rows at which some are written before the interval ends. They occupy a few
/// megabytes.
const EARLY_FLUSH_ROWS: usize = 131_072;

/// Number of rows that a step of the roll-up reads.
const ROLL_UP_ROWS: i64 = 5_000;

/// Recorded uses that are not yet written.
#[derive(Debug)]
pub struct UsageRecorder {
    store: Store,
    pending: PendingUses,
    early_flush: Notify,
    /// The number of the day before which all uses were moved to the keys by this process.
    rolled_up_before: AtomicI64,
}

impl UsageRecorder {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            pending: PendingUses::default(),
            early_flush: Notify::new(),
            rolled_up_before: AtomicI64::new(i64::MIN),
        }
    }

    /// Records a use of this credential at the time `at`. `counts` adds it to the daily use count
    /// of the key.
    pub fn record_credential_use(&self, credential: CredentialId, at: Timestamp, counts: bool) {
        let uses = CredentialUses { last_used_at: at, uses: i64::from(counts) };
        // Notifies when the limit is reached and not for later rows. Rows that could not be written
        // do not notify again, so that an unavailable database is not queried continuously.
        if self.pending.add(credential.number(), uses) == Some(EARLY_FLUSH_ROWS) {
            self.early_flush.notify_one();
        }
    }

    /// Completes when enough rows wait for some of them to be written.
    pub async fn early_flush(&self) {
        self.early_flush.notified().await;
    }

    /// Returns the number of waiting rows.
    pub fn count_waiting(&self) -> usize {
        self.pending.count()
    }

    /// Writes as many rows as are waiting.
    pub async fn flush(&self) -> Result<(), StoreError> {
        for _ in 0..self.count_waiting().div_ceil(BATCH_SIZE) {
            self.write_batch().await?;
        }
        Ok(())
    }

    /// Writes batches until fewer than `EARLY_FLUSH_ROWS` rows wait.
    pub async fn flush_excess(&self) -> Result<(), StoreError> {
        while self.count_waiting() >= EARLY_FLUSH_ROWS {
            self.write_batch().await?;
        }
        Ok(())
    }

    /// Writes a batch in a transaction of its own. Rows that cannot be written are recorded again.
    /// They are written twice if the transaction commits although it was reported as failed,
    /// because it timed out or its connection was lost during the commit.
    async fn write_batch(&self) -> Result<(), StoreError> {
        let batch = Arc::new(self.pending.take_batch());
        if batch.is_empty() {
            return Ok(());
        }
        let uses = Arc::clone(&batch);
        let written = self.store.run_internal(NoEvent::Counter, move |tx| credential_usage::add(tx, &uses)).await;
        if written.is_err() {
            self.pending.add_again(&batch);
        }
        written
    }

    /// Moves the uses of days that are over to the counts of the keys, once on each day. Uses that
    /// another replica writes later are moved on the next day. `is_stopping` ends it early.
    pub async fn roll_up(&self, is_stopping: impl Fn() -> bool) -> Result<(), StoreError> {
        let today = UtcDay::of(self.store.now().await?).number();
        if self.rolled_up_before.load(Ordering::Relaxed) == today {
            return Ok(());
        }
        let mut after = i64::MIN;
        while !is_stopping() {
            let range = self
                .store
                .read_at(move |connection, now| credential_usage::find_range(connection, after, ROLL_UP_ROWS, now));
            let Some(range) = range.await? else {
                self.rolled_up_before.store(today, Ordering::Relaxed);
                break;
            };
            if range.has_ended_days {
                let moved = self
                    .store
                    .run_internal(NoEvent::Counter, move |tx| credential_usage::move_ended_days(tx, after, range.last));
                moved.await?;
            }
            after = range.last;
        }
        Ok(())
    }
}
