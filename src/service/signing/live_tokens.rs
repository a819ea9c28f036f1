//! Number of unexpired tokens per signing key: counted in memory on the exchange path, and written
//! in batches by a background job. The counts are informational. No rule depends on them, so counts
//! lost in a crash do no harm.

use crate::{
    domain::{
        common::{derived_id::SigningKeyId, time::Timestamp},
        events::Origin,
    },
    store::{self, NoEvent, Outcome, Store, StoreError},
};
use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

const MINUTE: i64 = 60;

/// Tokens by signing key and by the end of the minute in which they expire, in minutes since the
/// Unix epoch.
type Counts = BTreeMap<SigningKeyId, BTreeMap<i64, i64>>;

/// Tokens issued since the last flush.
#[derive(Debug)]
pub struct LiveTokenCounts {
    store: Store,
    counts: Mutex<Counts>,
}

impl LiveTokenCounts {
    pub fn new(store: Store) -> Self {
        Self { store, counts: Mutex::default() }
    }

    /// Counts a token signed by `kid` that expires at `expires_at`, in seconds since the Unix
    /// epoch.
    pub fn count(&self, kid: &SigningKeyId, expires_at: i64) {
        let mut counts = self.lock();
        // Nearly every token is signed by a key that already has an entry: its kid is not cloned.
        let minutes = match counts.get_mut(kid) {
            Some(minutes) => minutes,
            None => counts.entry(kid.clone()).or_default(),
        };
        *minutes.entry(expires_at.div_euclid(MINUTE) + 1).or_default() += 1;
    }

    /// Writes the counts. After a failure they are counted again, for the next flush.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let taken = mem::take(&mut *self.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let rows = taken.iter().flat_map(|(kid, minutes)| {
            minutes
                .iter()
                .map(move |(minute, tokens)| ((kid.clone(), Timestamp::from_millis(minute * MINUTE * 1000)), *tokens))
        });
        let rows: BTreeMap<_, _> = rows.collect();
        let written = self.store.run_transaction(Origin::SYSTEM, move |tx| {
            store::signing::live_tokens::add(tx, &rows)?;
            Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Counter))
        });
        let written = written.await;
        if written.is_err() {
            let mut counts = self.lock();
            for (kid, minutes) in taken {
                let current = counts.entry(kid).or_default();
                minutes.into_iter().for_each(|(minute, tokens)| *current.entry(minute).or_default() += tokens);
            }
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
