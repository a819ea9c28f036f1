//! When each credential was last used, and how often each key was, by day: noted in memory on the exchange's path, written in batches off it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    domain::{
        event::{Actor, Origin},
        id::{CredentialId, KeyId},
        time::Timestamp,
        usage::Day,
    },
    store::{self, Outcome, StoreError},
};

use super::App;

/// How many rows of each table one change writes.
const BATCH: usize = 2_500;

/// How many may wait before some are written, whatever the clock says: a few megabytes.
const MANY: usize = 40_000;

/// What is noted and not yet written.
#[derive(Default)]
pub struct LastUsed {
    noted: Mutex<Noted>,
    many: Notify,
}

#[derive(Default)]
struct Noted {
    times: Waiting<CredentialId, Timestamp>,
    /// Around midnight a key is there for both days.
    uses: Waiting<(KeyId, Day), i64>,
}

impl Noted {
    fn rows(&self) -> usize {
        self.times.rows.len().max(self.uses.rows.len())
    }

    fn used_at(&mut self, credential: CredentialId, at: Timestamp) {
        self.times.put(credential, at, |last| at.max(last));
    }

    fn add_uses(&mut self, of: (KeyId, Day), uses: i64) {
        self.uses.put(of, uses, |before| before + uses);
    }
}

/// Rows that wait, in the order of their table: those of one page are written together.
struct Waiting<K, V> {
    rows: BTreeMap<K, V>,
    /// The last that was taken. Going round the table leaves none out, and comes by where most have gathered.
    last: Option<K>,
}

impl<K, V> Default for Waiting<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), last: None }
    }
}

impl<K: Ord + Clone, V: Copy> Waiting<K, V> {
    fn put(&mut self, key: K, value: V, with: impl FnOnce(V) -> V) {
        match self.rows.entry(key) {
            Entry::Occupied(mut row) => *row.get_mut() = with(*row.get()),
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }

    /// The next `BATCH`, or all where there are fewer.
    fn take(&mut self) -> Vec<(K, V)> {
        let from = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut taken = Vec::with_capacity(BATCH.min(self.rows.len()));
        taken.extend(self.rows.extract_if((from, Bound::Unbounded), |_, _| true).take(BATCH));
        taken.extend(self.rows.extract_if(.., |_, _| true).take(BATCH - taken.len()));
        self.last = taken.last().map(|(key, _)| key.clone());
        taken
    }
}

impl fmt::Debug for LastUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastUsed({})", self.waiting())
    }
}

impl LastUsed {
    /// The key was used at `at` with this credential, and `counts` says whether that is one of the uses that are told by day.
    pub fn note(&self, key: &KeyId, credential: CredentialId, at: Timestamp, counts: bool) {
        let mut noted = self.lock();
        let before = noted.rows();
        noted.used_at(credential, at);
        if counts {
            noted.add_uses((key.clone(), Day::of(at)), 1);
        }
        // Once, and not by what could not be written: a database that is away is not asked without pause.
        if before < MANY && noted.rows() == MANY {
            self.many.notify_one();
        }
    }

    /// Returns when so many wait that some should be written.
    pub async fn many(&self) {
        self.many.notified().await;
    }

    /// How many rows of a table wait to be written.
    pub fn waiting(&self) -> usize {
        self.lock().rows()
    }

    /// A panic while the lock was held leaves the maps whole: every operation on them is one call.
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is noted. What cannot be written is noted again, for the next time; a time that was written is none the worse for it.
///
/// # Errors
/// The database does not answer.
pub async fn flush(app: &App) -> Result<(), StoreError> {
    for _ in 0..app.last_used.waiting().div_ceil(BATCH) {
        write_next(app).await?;
    }
    Ok(())
}

/// Writes until fewer than many wait: a little at a time, where much at once would be felt by those who ask meanwhile.
///
/// # Errors
/// The database does not answer.
pub async fn flush_some(app: &App) -> Result<(), StoreError> {
    while app.last_used.waiting() >= MANY {
        write_next(app).await?;
    }
    Ok(())
}

async fn write_next(app: &App) -> Result<(), StoreError> {
    let taken = {
        let mut noted = app.last_used.lock();
        Arc::new((noted.times.take(), noted.uses.take()))
    };
    let rows = Arc::clone(&taken);
    let written = app.store.change(Origin::of(Actor::System), move |tx| {
        store::credential_uses::note(tx, &rows.0)?;
        store::key_usage::add(tx, &rows.1)?;
        Ok::<_, StoreError>(Outcome::bookkeeping(()))
    });
    if let Err(error) = written.await {
        let mut noted = app.last_used.lock();
        taken.0.iter().for_each(|(credential, at)| noted.used_at(*credential, *at));
        taken.1.iter().for_each(|(of, uses)| noted.add_uses(of.clone(), *uses));
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_round_takes_each_row_once_and_leaves_none_out() {
        let mut waiting = Waiting::default();
        (0..3 * BATCH).for_each(|row| waiting.put(2 * row, 1, |before| before + 1));
        let first = waiting.take();
        assert!(first.iter().map(|(row, _)| *row).eq((0..BATCH).map(|row| 2 * row)));
        // Behind what was taken, where it went on, and once more.
        for row in [1, 2 * BATCH - 1, 2 * BATCH] {
            waiting.put(row, 1, |before| before + 1);
        }
        let second = waiting.take();
        assert_eq!(second[..2], [(2 * BATCH - 1, 1), (2 * BATCH, 2)]);
        assert_eq!(second.len(), BATCH);
        assert_eq!(waiting.take().len(), BATCH);
        assert_eq!(waiting.take(), [(2 * (3 * BATCH - 1), 1), (1, 1)], "the end, and then the beginning");
        assert!(waiting.rows.is_empty() && waiting.take().is_empty());
    }
}
