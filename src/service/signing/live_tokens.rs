//! Number of unexpired tokens per signing key: counted in memory on the exchange path, and written
//! in batches by a background job. The counts are informational. No rule depends on them, so counts
//! lost in a crash do no harm.

use crate::{
    domain::common::{derived_id::SigningKeyId, time::Timestamp},
    service::common::write_buffer::WriteBuffer,
    store::{Store, StoreError, signing::live_tokens},
};

const MINUTE: i64 = 60;

/// Tokens issued since the last flush, by signing key and by the end of the minute in which they
/// expire.
#[derive(Debug)]
pub struct LiveTokenCounts {
    store: Store,
    counts: WriteBuffer<(SigningKeyId, Timestamp), i64>,
}

impl LiveTokenCounts {
    pub const fn new(store: Store) -> Self {
        Self { store, counts: WriteBuffer::new(|before, more| before + more, live_tokens::add) }
    }

    /// Counts a token signed by `kid` that expires at `expires_at`, in seconds since the Unix
    /// epoch.
    pub fn count_token(&self, kid: &SigningKeyId, expires_at: i64) {
        let minute = (expires_at.div_euclid(MINUTE) + 1) * MINUTE;
        self.counts.record((kid.clone(), Timestamp::from_millis(minute * 1000)), 1);
    }

    /// Writes the counts. After a failure they are counted again, for the next flush.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.counts.flush(&self.store).await
    }
}
