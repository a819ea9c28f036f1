//! Number of unexpired tokens per signing key: counted in memory on the exchange path, and written
//! in batches by a background job. The counts are informational. No rule depends on them, so counts
//! lost in a crash do no harm.

use std::{collections::BTreeMap, mem};

use crate::{
    domain::{
        common::time::Timestamp,
        events::{Actor, Origin},
    },
    service::{Services, signing::live_token_counts::MINUTE},
    store::{self, NoEvent, Outcome, StoreError},
};

/// Writes the counts. After a failure they are counted again, for the next flush.
pub async fn flush(services: &Services) -> Result<(), StoreError> {
    let taken = mem::take(&mut *services.live_tokens.lock());
    if taken.is_empty() {
        return Ok(());
    }
    let mut signed = BTreeMap::new();
    for (kid, minutes) in &taken {
        for (minute, tokens) in minutes {
            signed.insert((kid.clone(), Timestamp::from_millis(minute * MINUTE * 1000)), *tokens);
        }
    }
    let written = services.store.run_transaction(Origin::of(Actor::System), move |tx| {
        store::signing::live_tokens::add(tx, &signed)?;
        Ok::<_, StoreError>(Outcome::without_event((), NoEvent::Counter))
    });
    let written = written.await;
    if written.is_err() {
        for (kid, minutes) in &taken {
            for (minute, tokens) in minutes {
                services.live_tokens.add(kid, *minute, *tokens);
            }
        }
    }
    written
}
