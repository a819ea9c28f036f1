//! When each credential was last used, and how often each key was, by day: noted in memory on the exchange's path, written in batches off it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    domain::{
        event::{Actor, Origin},
        grant::KeyFacts,
        id::{CredentialId, KeyId},
        time::Timestamp,
        usage::Day,
    },
    store::{self, Outcome, StoreError},
};

use super::App;

/// How many rows one statement writes.
const BATCH: usize = 5_000;

/// How many may wait to be written before they are, whatever the clock says: some ten megabytes.
const MANY: usize = 50_000;

/// What is noted and not yet written.
#[derive(Default)]
pub struct LastUsed {
    noted: Mutex<HashMap<(CredentialId, Day), Noted>>,
    many: Notify,
}

/// What is noted of a credential on one day. Small: under load there is one for nearly every exchange of the last seconds.
#[derive(Debug, Clone)]
struct Noted {
    key: KeyId,
    last: Timestamp,
    uses: i64,
}

impl fmt::Debug for LastUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastUsed({})", self.waiting())
    }
}

impl LastUsed {
    /// The key was used at `at`, and `counts` says whether that is one of the uses that are told by day.
    pub fn note(&self, key: &KeyFacts, at: Timestamp, counts: bool) {
        let new = Noted { key: key.id.clone(), last: at, uses: i64::from(counts) };
        let mut all = self.lock();
        put(&mut all, (key.credential, Day::of(at)), new);
        // Once, and not by what could not be written: a database that is away is not asked without pause.
        if all.len() == MANY {
            self.many.notify_one();
        }
    }

    /// Returns when so many wait that they should be written.
    pub async fn many(&self) {
        self.many.notified().await;
    }

    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Vec<((CredentialId, Day), Noted)> {
        let mut taken: Vec<_> = mem::take(&mut *self.lock()).into_iter().collect();
        // In the order of their keys, which is that of their age: rows that were made together lie in the same pages. In which order rows are
        // locked is the statements' own.
        taken.sort_by(|(one, of_one), (other, of_other)| (&of_one.key, one).cmp(&(&of_other.key, other)));
        taken
    }

    /// A panic while the lock was held leaves the map whole: every operation on it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<(CredentialId, Day), Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(all: &mut HashMap<(CredentialId, Day), Noted>, of: (CredentialId, Day), new: Noted) {
    match all.entry(of) {
        Entry::Occupied(mut noted) => {
            let noted = noted.get_mut();
            noted.last = new.last.max(noted.last);
            noted.uses += new.uses;
        }
        Entry::Vacant(place) => {
            place.insert(new);
        }
    }
}

/// Writes what is noted. What cannot be written is noted again, for the next time.
///
/// # Errors
/// The database does not answer.
pub async fn flush(app: &App) -> Result<usize, StoreError> {
    let mut taken = app.last_used.take();
    let mut written = 0;
    while written < taken.len() {
        let batch = &taken[written..taken.len().min(written + BATCH)];
        let size = batch.len();
        let mut times = BTreeMap::new();
        let mut uses = BTreeMap::new();
        for ((credential, day), noted) in batch {
            // Around midnight a credential is there for both days.
            let last = times.entry(*credential).or_insert(noted.last);
            *last = noted.last.max(*last);
            if noted.uses > 0 {
                *uses.entry((noted.key.clone(), *day)).or_default() += noted.uses;
            }
        }
        let times: Vec<_> = times.into_iter().collect();
        let result = app
            .store
            .change(Origin::of(Actor::System), move |tx| {
                store::api_keys::touch(tx, &times)?;
                store::key_usage::add(tx, &uses)?;
                Ok::<_, StoreError>(Outcome::bookkeeping(()))
            })
            .await;
        if let Err(error) = result {
            let mut all = app.last_used.lock();
            for (of, noted) in taken.drain(written..) {
                put(&mut all, of, noted);
            }
            return Err(error);
        }
        written += size;
    }
    Ok(written)
}
