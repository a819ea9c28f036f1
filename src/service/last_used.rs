//! When each credential was last used, and how often each key was, by day: noted in memory on the exchange's path, written in batches off it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

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

/// What is noted and not yet written.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<CredentialId, Noted>>);

/// What is noted of a credential. Small: under load there is one for nearly every exchange of the last seconds.
#[derive(Debug, Clone)]
struct Noted {
    key: KeyId,
    last: Timestamp,
    /// How often it was used on each day: nearly always on one.
    uses: Vec<(Day, i64)>,
}

impl Noted {
    fn count(&mut self, day: Day, uses: i64) {
        match self.uses.iter_mut().find(|(counted, _)| *counted == day) {
            Some((_, count)) => *count += uses,
            None => {
                self.uses.reserve_exact(1);
                self.uses.push((day, uses));
            }
        }
    }
}

impl fmt::Debug for LastUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastUsed({})", self.waiting())
    }
}

impl LastUsed {
    /// The key was used at `at`, and `counts` says whether that is one of the uses that are told by day.
    pub fn note(&self, key: &KeyFacts, at: Timestamp, counts: bool) {
        let mut all = self.lock();
        let new = || Noted { key: key.id.clone(), last: at, uses: Vec::new() };
        let noted = all.entry(key.credential).or_insert_with(new);
        noted.last = at.max(noted.last);
        if counts {
            noted.count(Day::of(at), 1);
        }
    }

    /// What could not be written.
    fn note_again(&self, credential: &CredentialId, unwritten: &Noted) {
        let mut all = self.lock();
        let new = || Noted { uses: Vec::new(), ..unwritten.clone() };
        let noted = all.entry(*credential).or_insert_with(new);
        noted.last = unwritten.last.max(noted.last);
        for (day, uses) in &unwritten.uses {
            noted.count(*day, *uses);
        }
    }

    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Vec<(CredentialId, Noted)> {
        let mut taken: Vec<_> = mem::take(&mut *self.lock()).into_iter().collect();
        // In the order of their keys, which is that of their age: rows that were made together lie in the same pages. In which order rows are
        // locked is the statements' own.
        taken.sort_by(|(one, of_one), (other, of_other)| (&of_one.key, one).cmp(&(&of_other.key, other)));
        taken
    }

    /// A panic while the lock was held leaves the map whole: every operation on it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is noted. What cannot be written is noted again, for the next time.
///
/// # Errors
/// The database does not answer.
pub async fn flush(app: &App) -> Result<usize, StoreError> {
    let taken = app.last_used.take();
    let mut written = 0;
    while written < taken.len() {
        let batch = &taken[written..taken.len().min(written + BATCH)];
        let size = batch.len();
        let times: Vec<_> = batch.iter().map(|(credential, noted)| (*credential, noted.last)).collect();
        let mut uses = BTreeMap::new();
        for (_, noted) in batch {
            for (day, count) in &noted.uses {
                *uses.entry((noted.key.clone(), *day)).or_default() += count;
            }
        }
        let result = app
            .store
            .change(Origin::of(Actor::System), move |tx| {
                store::api_keys::touch(tx, &times)?;
                store::key_usage::add(tx, &uses)?;
                Ok::<_, StoreError>(Outcome::bookkeeping(()))
            })
            .await;
        if let Err(error) = result {
            for (credential, noted) in &taken[written..] {
                app.last_used.note_again(credential, noted);
            }
            return Err(error);
        }
        written += size;
    }
    Ok(written)
}
