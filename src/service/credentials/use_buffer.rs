//! Last-used times of credentials and daily use counts of keys. Exchanges record them in memory,
//! and jobs write them in batches.

use tokio::sync::Notify;

use crate::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        exchange::usage::UtcDay,
    },
    service::common::write_buffer::WriteBuffer,
    store::{Store, StoreError, api_keys::usage, credentials::last_used},
};

/// Number of waiting rows at which some are written before the interval ends. They occupy a few
/// megabytes.
const EARLY_FLUSH_ROWS: usize = 40_000;

/// Recorded uses that are not yet written.
#[derive(Debug)]
pub struct UsageRecorder {
    store: Store,
    last_used_times: WriteBuffer<CredentialId, Timestamp>,
    /// Around midnight a key can have a row for each of the two days.
    uses: WriteBuffer<(KeyId, UtcDay), i64>,
    early_flush: Notify,
}

impl UsageRecorder {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            last_used_times: WriteBuffer::new(Timestamp::max, last_used::upsert_last_used_times),
            uses: WriteBuffer::new(|before, more| before + more, usage::add_counts),
            early_flush: Notify::new(),
        }
    }

    /// Records a use of the key with this credential at the time `at`. `counts` adds it to the
    /// daily use count.
    pub fn record_credential_use(&self, key: &KeyId, credential: CredentialId, at: Timestamp, counts: bool) {
        let times = self.last_used_times.record(credential, at);
        let uses = if counts { self.uses.record((key.clone(), UtcDay::of(at)), 1) } else { None };
        // Notifies when the limit is reached and not for later rows. Rows that could not be written
        // do not notify again, so that an unavailable database is not queried continuously.
        if [times, uses].contains(&Some(EARLY_FLUSH_ROWS)) {
            self.early_flush.notify_one();
        }
    }

    /// Completes when enough rows wait for some of them to be written.
    pub async fn early_flush(&self) {
        self.early_flush.notified().await;
    }

    /// Returns the number of waiting rows of the table that has more of them.
    pub fn count_waiting(&self) -> usize {
        self.last_used_times.count_waiting().max(self.uses.count_waiting())
    }

    /// Writes as many rows as are waiting. Writing a last-used time twice does no harm.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.last_used_times.flush(&self.store).await?;
        self.uses.flush(&self.store).await
    }

    /// Writes batches until fewer than `EARLY_FLUSH_ROWS` rows wait.
    pub async fn flush_excess(&self) -> Result<(), StoreError> {
        while self.count_waiting() >= EARLY_FLUSH_ROWS {
            self.last_used_times.write_batch(&self.store).await?;
            self.uses.write_batch(&self.store).await?;
        }
        Ok(())
    }
}
