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
    store::{self, Outcome, StoreError, Tx},
};

use super::App;

/// How many rows one statement writes.
const BATCH: usize = 5_000;

/// How many may wait to be written before they are, whatever the clock says: some ten megabytes.
const MANY: usize = 100_000;

/// What is noted and not yet written.
#[derive(Default)]
pub struct LastUsed {
    noted: Mutex<HashMap<Of, Noted>>,
    many: Notify,
}

/// Around midnight a credential is there for both days.
type Of = (CredentialId, Day);

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

    fn take(&self) -> Vec<(Of, Noted)> {
        mem::take(&mut *self.lock()).into_iter().collect()
    }

    fn note_again(&self, unwritten: impl Iterator<Item = (Of, Noted)>) {
        let mut all = self.lock();
        unwritten.for_each(|(of, noted)| put(&mut all, of, noted));
    }

    /// A panic while the lock was held leaves the map whole: every operation on it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<Of, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(all: &mut HashMap<Of, Noted>, of: Of, new: Noted) {
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

/// Writes what is noted: the times, then the uses, each in the order of its own table, so that rows of one page are written together. What
/// cannot be written is noted again, for the next time; a time that was written is none the worse for it.
///
/// # Errors
/// The database does not answer.
pub async fn flush(app: &App) -> Result<usize, StoreError> {
    let mut taken = app.last_used.take();
    taken.sort_unstable_by_key(|(of, _)| *of);
    let mut written = 0;
    while written < taken.len() {
        let batch = &taken[written..taken.len().min(written + BATCH)];
        let size = batch.len();
        let mut times: Vec<(CredentialId, Timestamp)> = Vec::with_capacity(size);
        for ((credential, _), noted) in batch {
            match times.last_mut() {
                Some((same, last)) if same == credential => *last = noted.last.max(*last),
                Some(_) | None => times.push((*credential, noted.last)),
            }
        }
        if let Err(error) = change(app, move |tx| store::credential_uses::note(tx, &times)).await {
            app.last_used.note_again(taken.into_iter());
            return Err(error);
        }
        written += size;
    }
    taken.retain(|(_, noted)| noted.uses > 0);
    taken.sort_unstable_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    let mut counted = 0;
    while counted < taken.len() {
        let batch = &taken[counted..taken.len().min(counted + BATCH)];
        let size = batch.len();
        let mut uses = BTreeMap::new();
        for ((_, day), noted) in batch {
            *uses.entry((noted.key.clone(), *day)).or_default() += noted.uses;
        }
        if let Err(error) = change(app, move |tx| store::key_usage::add(tx, &uses)).await {
            app.last_used.note_again(taken.drain(counted..));
            return Err(error);
        }
        counted += size;
    }
    Ok(written)
}

async fn change(
    app: &App,
    write: impl FnMut(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let mut write = write;
    app.store.change(Origin::of(Actor::System), move |tx| write(tx).map(Outcome::bookkeeping)).await
}
