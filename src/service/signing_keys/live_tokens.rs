//! Number of unexpired tokens per signing key: counted in memory on the exchange path, and written
//! in batches by a background job. The counts are informational. No rule depends on them, so counts
//! lost in a crash do no harm.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::{
        event::{Actor, Origin},
        id::SigningKeyId,
        time::Timestamp,
    },
    service::App,
    store::{self, Outcome, StoreError},
};

const MINUTE: i64 = 60;

/// Counts that are not yet written, by key and by the end of the minute in which the token expires,
/// in minutes since the Unix epoch.
#[derive(Default)]
pub struct LiveTokens(Mutex<BTreeMap<SigningKeyId, BTreeMap<i64, i64>>>);

impl fmt::Debug for LiveTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveTokens")
    }
}

impl LiveTokens {
    /// Counts a token signed by `kid` that expires at `expires_at`, in seconds since the Unix
    /// epoch.
    pub fn count(&self, kid: &SigningKeyId, expires_at: i64) {
        self.add(kid, expires_at.div_euclid(MINUTE) + 1, 1);
    }

    fn add(&self, kid: &SigningKeyId, minute: i64, tokens: i64) {
        let mut all = self.lock();
        // Nearly every token is signed by a key that already has an entry: its kid is not cloned.
        let minutes = match all.get_mut(kid) {
            Some(minutes) => minutes,
            None => all.entry(kid.clone()).or_default(),
        };
        *minutes.entry(minute).or_default() += tokens;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SigningKeyId, BTreeMap<i64, i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the counts. After a failure they are counted again, for the next flush.
pub async fn flush(app: &App) -> Result<(), StoreError> {
    let taken = mem::take(&mut *app.live_tokens.lock());
    if taken.is_empty() {
        return Ok(());
    }
    let mut signed = BTreeMap::new();
    for (kid, minutes) in &taken {
        for (minute, tokens) in minutes {
            signed.insert((kid.clone(), Timestamp::from_millis(minute * MINUTE * 1000)), *tokens);
        }
    }
    let written = app.store.change(Origin::of(Actor::System), move |tx| {
        store::signing_key_tokens::add(tx, &signed)?;
        Ok::<_, StoreError>(Outcome::bookkeeping(()))
    });
    let written = written.await;
    if written.is_err() {
        for (kid, minutes) in &taken {
            for (minute, tokens) in minutes {
                app.live_tokens.add(kid, *minute, *tokens);
            }
        }
    }
    written
}
