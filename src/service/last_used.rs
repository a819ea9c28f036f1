//! When each credential was last used: noted in memory on the exchange's path, written in batches off it.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::{
        event::{Actor, Origin},
        id::CredentialId,
        time::Timestamp,
    },
    store::{self, Outcome, StoreError},
};

use super::App;

/// How many rows one statement writes.
const BATCH: usize = 5_000;

/// What is noted and not yet written.
#[derive(Default)]
pub struct LastUsed(Mutex<HashMap<CredentialId, Timestamp>>);

impl fmt::Debug for LastUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastUsed({})", self.waiting())
    }
}

impl LastUsed {
    pub fn note(&self, credential: CredentialId, at: Timestamp) {
        let mut noted = self.lock();
        let latest = noted.entry(credential).or_insert(at);
        *latest = at.max(*latest);
    }

    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Vec<(CredentialId, Timestamp)> {
        let mut taken: Vec<_> = mem::take(&mut *self.lock()).into_iter().collect();
        // In one order everywhere, so that two replicas lock rows in the same order.
        taken.sort();
        taken
    }

    /// A panic while the lock was held leaves the map whole: every operation on it is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, Timestamp>> {
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
        let batch = taken[written..taken.len().min(written + BATCH)].to_vec();
        let size = batch.len();
        let result = app
            .store
            .change(Origin::of(Actor::System), move |tx| {
                store::api_keys::touch(tx, &batch)?;
                Ok::<_, StoreError>(Outcome::bookkeeping(()))
            })
            .await;
        if let Err(error) = result {
            for (credential, at) in &taken[written..] {
                app.last_used.note(credential.clone(), *at);
            }
            return Err(error);
        }
        written += size;
    }
    Ok(written)
}
