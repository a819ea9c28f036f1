//! Last-used times and uses that are not flushed yet.

use crate::domain::{
    common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
    exchange::usage::UtcDay,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Maximum number of rows that a transaction writes.
pub(crate) const BATCH: usize = 5_000;

/// Number of waiting rows at which some are written before the interval ends. They occupy a few
/// megabytes.
pub(crate) const EARLY_FLUSH_ROWS: usize = 40_000;

/// Recorded uses that are not yet written.
#[derive(Default)]
pub struct UsageRecorder {
    pending: Mutex<PendingUsage>,
    early_flush: Notify,
}

pub(crate) struct PendingUsage {
    pub(crate) last_used_times: PendingRows<CredentialId, Timestamp>,
    /// Around midnight a key can have a row for each of the two days.
    pub(crate) uses: PendingRows<(KeyId, UtcDay), i64>,
}

impl Default for PendingUsage {
    fn default() -> Self {
        Self { last_used_times: PendingRows::new(Timestamp::max), uses: PendingRows::new(|before, more| before + more) }
    }
}

impl PendingUsage {
    fn rows(&self) -> usize {
        self.last_used_times.rows.len().max(self.uses.rows.len())
    }
}

/// Waiting rows of one table, in the order of their ids, so that rows of the same page are written
/// together.
pub(crate) struct PendingRows<K, V> {
    rows: BTreeMap<K, V>,
    /// Combines the values of a row that is recorded again before it is written.
    merge: fn(V, V) -> V,
    /// Id of the last row that was taken. The next batch continues from there and wraps around at
    /// the end. No row is left out, and each batch covers the range in which rows have accumulated
    /// the longest.
    last: Option<K>,
}

impl<K: Ord + Clone, V: Copy> PendingRows<K, V> {
    const fn new(merge: fn(V, V) -> V) -> Self {
        Self { rows: BTreeMap::new(), merge, last: None }
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        match self.rows.entry(key) {
            Entry::Occupied(mut row) => *row.get_mut() = (self.merge)(*row.get(), value),
            Entry::Vacant(row) => {
                row.insert(value);
            }
        }
    }

    /// Removes and returns the next `BATCH` rows, or all rows if there are fewer.
    pub(crate) fn take(&mut self) -> Vec<(K, V)> {
        let from = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut taken = Vec::with_capacity(BATCH.min(self.rows.len()));
        taken.extend(self.rows.extract_if((from, Bound::Unbounded), |_, _| true).take(BATCH));
        taken.extend(self.rows.extract_if(.., |_, _| true).take(BATCH - taken.len()));
        self.last = taken.last().map(|(key, _)| key.clone());
        taken
    }
}

impl fmt::Debug for UsageRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsageRecorder({})", self.waiting())
    }
}

impl UsageRecorder {
    /// Records a use of the key with this credential at the time `at`. `counts` adds it to the
    /// daily use count.
    pub fn record_credential_use(&self, key: &KeyId, credential: CredentialId, at: Timestamp, counts: bool) {
        let mut pending = self.lock();
        let before = pending.rows();
        pending.last_used_times.put(credential, at);
        if counts {
            pending.uses.put((key.clone(), UtcDay::of(at)), 1);
        }
        // Notifies once, when the limit is reached. Rows that could not be written do not notify
        // again, so that an unavailable database is not queried continuously.
        if before < EARLY_FLUSH_ROWS && pending.rows() == EARLY_FLUSH_ROWS {
            self.early_flush.notify_one();
        }
    }

    /// Completes when enough rows wait for some of them to be written.
    pub async fn early_flush(&self) {
        self.early_flush.notified().await;
    }

    /// Returns the number of waiting rows of the table that has more of them.
    pub fn waiting(&self) -> usize {
        self.lock().rows()
    }

    /// Ignores poisoning: no operation under the lock can panic halfway, so the maps are
    /// consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PendingUsage> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_wrap_around_and_take_each_row_once() {
        let mut waiting = PendingRows::new(|before, more| before + more);
        (0..3 * BATCH).for_each(|row| waiting.put(2 * row, 1));
        let first = waiting.take();
        assert!(first.iter().map(|(row, _)| *row).eq((0..BATCH).map(|row| 2 * row)));
        // A row before the next batch, a row at its start, and a row that is already waiting.
        for row in [1, 2 * BATCH - 1, 2 * BATCH] {
            waiting.put(row, 1);
        }
        let second = waiting.take();
        assert_eq!(second[..2], [(2 * BATCH - 1, 1), (2 * BATCH, 2)]);
        assert_eq!(second.len(), BATCH);
        assert_eq!(waiting.take().len(), BATCH);
        assert_eq!(waiting.take(), [(2 * (3 * BATCH - 1), 1), (1, 1)], "the end, and then the beginning");
        assert!(waiting.rows.is_empty() && waiting.take().is_empty());
    }

    #[test]
    fn rows_that_are_recorded_again_merge_with_newer_ones() {
        let (mut pending, credential, day) =
            (PendingUsage::default(), CredentialId::placeholder(), UtcDay::from_number(20_000));
        let key: KeyId = "key_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        pending.last_used_times.put(credential, Timestamp::from_millis(1));
        pending.uses.put((key.clone(), day), 3);
        let (last_used_times, uses) = (pending.last_used_times.take(), pending.uses.take());
        pending.last_used_times.put(credential, Timestamp::from_millis(2));
        pending.uses.put((key.clone(), day), 4);
        last_used_times.into_iter().for_each(|(credential, at)| pending.last_used_times.put(credential, at));
        uses.into_iter().for_each(|(of, uses)| pending.uses.put(of, uses));
        assert_eq!(pending.last_used_times.take(), [(credential, Timestamp::from_millis(2))]);
        assert_eq!(pending.uses.take(), [((key, day), 7)]);
    }
}
