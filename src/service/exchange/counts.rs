//! Hourly counts of the results of presented keys. The metrics of a server count the same results
//! since its start. They are written to the database in batches, so that the overview covers all
//! servers and restarts.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use crate::{
    store::{NoEvent, Store, StoreError, exchange_counts},
    telemetry::metrics::Metrics,
};

/// The metric values that are already written.
#[derive(Debug, Default)]
pub struct FlushedExchangeCounts(Mutex<BTreeMap<&'static str, u64>>);

impl FlushedExchangeCounts {
    /// Adds the results since the last flush to the current hour. Results that cannot be written
    /// are included in the next flush. If the commit succeeds but its confirmation is lost, they
    /// are counted twice.
    pub async fn flush(&self, store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
        // Held until the write completes, so that concurrent flushes do not write the same results.
        let mut written = self.0.lock().await;
        let uses = metrics.uses();
        let new = |(result, count): (&&'static str, &u64)| {
            let more = count - written.get(result).copied().unwrap_or_default().min(*count);
            (more > 0).then(|| (*result, i64::try_from(more).unwrap_or(i64::MAX)))
        };
        let new: BTreeMap<_, _> = uses.iter().filter_map(new).collect();
        if new.is_empty() {
            return Ok(());
        }
        store.run_internal(NoEvent::Counter, move |tx| exchange_counts::add(tx, &new)).await?;
        *written = uses;
        Ok(())
    }
}
