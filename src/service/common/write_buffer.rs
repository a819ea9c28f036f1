//! Rows that are recorded in memory on the exchange path and written in batches.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::{NoEvent, Store, StoreError, Tx};

/// Maximum number of rows that a transaction writes. Small batches delay concurrent requests less
/// than a single large one.
pub const BATCH_SIZE: usize = 5_000;

/// Writes a batch with one statement.
pub type WriteBatch<K, V> = fn(&mut Tx<'_>, &[(K, V)]) -> Result<(), StoreError>;

/// Waiting rows of one table.
pub struct WriteBuffer<K, V> {
    pending: Mutex<Pending<K, V>>,
    /// Combines the values of a row that is recorded again before it is written.
    merge: fn(V, V) -> V,
    write: WriteBatch<K, V>,
}

struct Pending<K, V> {
    /// In the order of their ids, so that rows of the same page are written together, and replicas
    /// lock the rows in the same order.
    rows: BTreeMap<K, V>,
    /// Id of the last row that was taken. The next batch continues from there and wraps around at
    /// the end. No row is left out, and each batch covers the range in which rows have accumulated
    /// the longest.
    last: Option<K>,
}

impl<K, V> fmt::Debug for WriteBuffer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBuffer({})", self.lock().rows.len())
    }
}

impl<K, V> WriteBuffer<K, V> {
    /// Ignores poisoning: no operation under the lock can panic halfway, so the rows are
    /// consistent.
    fn lock(&self) -> MutexGuard<'_, Pending<K, V>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of waiting rows.
    pub fn count_waiting(&self) -> usize {
        self.lock().rows.len()
    }
}

impl<K, V> WriteBuffer<K, V>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Copy + Send + Sync + 'static,
{
    pub const fn new(merge: fn(V, V) -> V, write: WriteBatch<K, V>) -> Self {
        Self { pending: Mutex::new(Pending { rows: BTreeMap::new(), last: None }), merge, write }
    }

    /// Records a value. Returns the number of waiting rows if the row is new.
    pub fn record(&self, key: K, value: V) -> Option<usize> {
        let mut pending = self.lock();
        match pending.rows.entry(key) {
            Entry::Occupied(mut row) => {
                *row.get_mut() = (self.merge)(*row.get(), value);
                None
            }
            Entry::Vacant(row) => {
                row.insert(value);
                Some(pending.rows.len())
            }
        }
    }

    /// Writes as many rows as are waiting.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        for _ in 0..self.count_waiting().div_ceil(BATCH_SIZE) {
            self.write_batch(store).await?;
        }
        Ok(())
    }

    /// Writes a batch in a transaction of its own. Rows that cannot be written are recorded again.
    /// They are written twice if the transaction commits although it was reported as failed,
    /// because it timed out or its connection was lost during the commit. Two tables in one
    /// transaction would have to be locked in the same order by all replicas.
    pub async fn write_batch(&self, store: &Store) -> Result<(), StoreError> {
        let (rows, write) = (Arc::new(self.take_batch()), self.write);
        if rows.is_empty() {
            return Ok(());
        }
        let batch = Arc::clone(&rows);
        let written = store.run_internal(NoEvent::Counter, move |tx| write(tx, &batch)).await;
        if written.is_err() {
            for (key, value) in rows.iter() {
                self.record(key.clone(), *value);
            }
        }
        written
    }

    /// Removes and returns the next `BATCH_SIZE` rows, or all rows if there are fewer.
    fn take_batch(&self) -> Vec<(K, V)> {
        let mut pending = self.lock();
        let from = pending.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut taken = Vec::with_capacity(BATCH_SIZE.min(pending.rows.len()));
        taken.extend(pending.rows.extract_if((from, Bound::Unbounded), |_, _| true).take(BATCH_SIZE));
        taken.extend(pending.rows.extract_if(.., |_, _| true).take(BATCH_SIZE - taken.len()));
        pending.last = taken.last().map(|(key, _)| key.clone());
        // Replicas that write the same rows lock them in the same order.
        taken.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_wrap_around_and_take_each_row_once() {
        let waiting = WriteBuffer::new(|before, more| before + more, |_, _| Ok(()));
        for row in 0..3 * BATCH_SIZE {
            waiting.record(2 * row, 1);
        }
        let first = waiting.take_batch();
        assert!(first.iter().map(|(row, _)| *row).eq((0..BATCH_SIZE).map(|row| 2 * row)));
        // A row before the next batch, a row at its start, and a row that is already waiting.
        for row in [1, 2 * BATCH_SIZE - 1, 2 * BATCH_SIZE] {
            waiting.record(row, 1);
        }
        let second = waiting.take_batch();
        assert_eq!(second[..2], [(2 * BATCH_SIZE - 1, 1), (2 * BATCH_SIZE, 2)]);
        assert_eq!(second.len(), BATCH_SIZE);
        assert_eq!(waiting.take_batch().len(), BATCH_SIZE);
        assert_eq!(
            waiting.take_batch(),
            [(1, 1), (2 * (3 * BATCH_SIZE - 1), 1)],
            "the end and the beginning, in order"
        );
        assert!(waiting.count_waiting() == 0 && waiting.take_batch().is_empty());
    }
}
