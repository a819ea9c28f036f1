//! Uses of credentials that wait in memory to be written.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    domain::{
        common::derived_id::CredentialId,
        exchange::usage::{CredentialUses, UtcDay},
    },
    service::common::write_buffer::BATCH_SIZE,
    store::credentials::credential_usage::UseBatch,
};

/// Threads that record uses at the same time seldom wait for each other.
const SHARDS: usize = 16;
const NUMBERS_OF_SHARD: i64 = CredentialId::NUMBER_LIMIT / 16 + 1;

/// Each shard has a range of the numbers of credentials, so that the shards together are in order.
#[derive(Default)]
pub struct PendingUses {
    shards: [Mutex<Shard>; SHARDS],
    /// The number of rows in all shards. It changes while their shard is locked.
    waiting: AtomicUsize,
    /// Number of the last credential that was taken. The next batch continues from there and wraps
    /// around at the end. No row is left out, and each batch covers the range in which rows have
    /// accumulated the longest.
    last: Mutex<Option<i64>>,
}

/// In the order of the numbers, so that rows of the same page are written together.
#[derive(Default)]
struct Shard {
    latest: BTreeMap<i64, CredentialUses>,
    /// Uses of days before those of the latest. There are some around midnight, and while the clock
    /// of the database is set back.
    earlier: BTreeMap<(i64, UtcDay), i64>,
}

impl Shard {
    /// Adds uses and returns by how many rows this grows.
    fn add(&mut self, number: i64, uses: CredentialUses) -> usize {
        let earlier = match self.latest.entry(number) {
            Entry::Vacant(row) => {
                row.insert(uses);
                return 1;
            }
            Entry::Occupied(mut row) => row.get_mut().merge(uses),
        };
        earlier.map_or(0, |(day, uses)| self.add_earlier(number, day, uses))
    }

    fn add_earlier(&mut self, number: i64, day: UtcDay, uses: i64) -> usize {
        match self.earlier.entry((number, day)) {
            Entry::Vacant(row) => {
                row.insert(uses);
                1
            }
            Entry::Occupied(mut row) => {
                *row.get_mut() += uses;
                0
            }
        }
    }

    /// Moves rows of `range` to the batch until it is full, and returns how many.
    fn take(&mut self, range: (Bound<i64>, Bound<i64>), batch: &mut UseBatch) -> usize {
        let before = (batch.latest.len(), batch.earlier.len());
        let (latest_room, earlier_room) = (BATCH_SIZE - before.0, BATCH_SIZE - before.1);
        batch.latest.extend(self.latest.extract_if(range, |_, _| true).take(latest_room));
        let earlier = self.earlier.extract_if(.., |_, _| true).take(earlier_room);
        batch.earlier.extend(earlier.map(|((number, day), uses)| (number, day, uses)));
        batch.latest.len() + batch.earlier.len() - before.0 - before.1
    }
}

impl fmt::Debug for PendingUses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingUses({})", self.count())
    }
}

impl PendingUses {
    /// Adds uses. Returns the number of waiting rows if they need a new one.
    pub fn add(&self, number: i64, uses: CredentialUses) -> Option<usize> {
        let mut shard = lock(&self.shards[shard_of(number)]);
        match shard.add(number, uses) {
            0 => None,
            new => Some(self.waiting.fetch_add(new, Ordering::Relaxed) + new),
        }
    }

    /// Adds a batch that could not be written.
    pub fn add_again(&self, batch: &UseBatch) {
        for (number, uses) in &batch.latest {
            self.add(*number, *uses);
        }
        for (number, day, uses) in &batch.earlier {
            let mut shard = lock(&self.shards[shard_of(*number)]);
            self.waiting.fetch_add(shard.add_earlier(*number, *day, *uses), Ordering::Relaxed);
        }
    }

    /// Returns the number of waiting rows.
    pub fn count(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Removes and returns the next `BATCH_SIZE` rows, and as many uses of earlier days; all rows
    /// if there are fewer. Replicas that write the same rows lock them in the same order.
    pub fn take_batch(&self) -> UseBatch {
        let mut last = lock(&self.last);
        let mut batch = UseBatch::default();
        batch.latest.reserve(BATCH_SIZE.min(self.count()));
        let (after, first) = last.map_or((Bound::Unbounded, 0), |last| (Bound::Excluded(last), shard_of(last)));
        for shard in &self.shards[first..] {
            self.take_from(shard, (after, Bound::Unbounded), &mut batch);
        }
        for shard in &self.shards[..=first] {
            self.take_from(shard, (Bound::Unbounded, Bound::Unbounded), &mut batch);
        }
        *last = batch.latest.last().map(|(number, _)| *number);
        batch.latest.sort_unstable_by_key(|(number, _)| *number);
        batch
    }

    fn take_from(&self, shard: &Mutex<Shard>, range: (Bound<i64>, Bound<i64>), batch: &mut UseBatch) {
        let mut shard = lock(shard);
        self.waiting.fetch_sub(shard.take(range, batch), Ordering::Relaxed);
    }
}

/// Ignores poisoning: no operation under a lock can panic halfway, so the rows are consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard_of(number: i64) -> usize {
    usize::try_from(number / NUMBERS_OF_SHARD).unwrap_or(0).min(SHARDS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::common::time::Timestamp;

    const DAY: i64 = 24 * 3600 * 1000;

    fn uses(at: i64, uses: i64) -> CredentialUses {
        CredentialUses { last_used_at: Timestamp::from_millis(at), uses }
    }

    #[test]
    fn batches_wrap_around_and_take_each_row_once() {
        let pending = PendingUses::default();
        // Numbers in all shards.
        let step = CredentialId::NUMBER_LIMIT / (3 * BATCH_SIZE as i64);
        for row in 0..3 * BATCH_SIZE as i64 {
            assert_eq!(pending.add(step * row, uses(1, 1)).unwrap() as i64, row + 1);
        }
        let first = pending.take_batch().latest;
        assert!(first.iter().map(|(number, _)| *number).eq((0..BATCH_SIZE as i64).map(|row| step * row)));
        // A row before the next batch, a row at its start, and a row that is already waiting.
        let start = step * BATCH_SIZE as i64;
        for number in [1, start - 1] {
            assert!(pending.add(number, uses(1, 1)).is_some());
        }
        assert_eq!(pending.add(start, uses(2, 1)), None);
        let second = pending.take_batch().latest;
        assert_eq!(second[..2], [(start - 1, uses(1, 1)), (start, uses(2, 2))]);
        assert_eq!(second.len(), BATCH_SIZE);
        assert_eq!(pending.take_batch().latest.len(), BATCH_SIZE);
        let end = step * (3 * BATCH_SIZE as i64 - 1);
        assert_eq!(pending.take_batch().latest, [(1, uses(1, 1)), (end, uses(1, 1))], "the end and the beginning");
        assert!(pending.count() == 0 && pending.take_batch().is_empty());
    }

    #[test]
    fn uses_of_two_days_wait_in_two_rows() {
        let pending = PendingUses::default();
        let yesterday = UtcDay::of(Timestamp::from_millis(9 * DAY));
        assert_eq!(pending.add(7, uses(10 * DAY - 1, 1)), Some(1));
        assert_eq!(pending.add(7, uses(10 * DAY, 1)), Some(2), "midnight");
        assert_eq!(pending.add(7, uses(10 * DAY - 2, 1)), None, "a late use");
        assert_eq!(pending.add(7, uses(10 * DAY + 5, 0)), None);
        let batch = pending.take_batch();
        assert_eq!(batch.latest, [(7, uses(10 * DAY + 5, 1))]);
        assert_eq!(batch.earlier, [(7, yesterday, 2)]);
        assert_eq!(pending.count(), 0);

        // Meanwhile the key is used again, and the batch cannot be written.
        pending.add(7, uses(10 * DAY + 6, 1));
        pending.add_again(&batch);
        assert_eq!(pending.count(), 2);
        pending.add(7, uses(11 * DAY, 1));
        let again = pending.take_batch();
        assert_eq!(again.latest, [(7, uses(11 * DAY, 1))]);
        let today = UtcDay::of(Timestamp::from_millis(10 * DAY));
        assert_eq!(again.earlier, [(7, yesterday, 2), (7, today, 2)]);
        assert!(pending.count() == 0 && pending.take_batch().is_empty());
    }
}
