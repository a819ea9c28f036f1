//! Rows that have ended: usage of past days is moved to where it is kept, and what is kept no
//! longer is deleted.

use crate::{
    service::{Error, Services, lifecycle::Phase},
    store::{self, NoEvent},
};

/// The batches are small, so that the rows of a large deleted organization do not block other
/// writers.
const BATCH_SIZE: i64 = 500;

/// Moves the uses of past days from the credentials to their keys. It ends early when the process
/// stops.
pub async fn roll_up_usage(services: &Services) -> Result<(), Error> {
    Ok(services.last_used.roll_up(|| services.lifecycle.phase() >= Phase::Stopping).await?)
}

/// Deletes what has expired. It ends early when the process stops, because the members of a large
/// deleted organization take minutes.
pub async fn delete_expired_rows(services: &Services) -> Result<(), Error> {
    let timing = services.settings.timing;
    // The longest time after its expiry at which a verifier may accept a token.
    let late = timing.verifier_leeway + timing.clock_skew;
    let expired = services.store.run_internal(NoEvent::Cleanup, move |tx| {
        let end = tx.now().minus(late + timing.replica_staleness).seconds();
        store::status_lists::delete_expired_lists(tx, end)?;
        store::common::idempotency::delete_expired(tx)?;
        store::webhooks::deliveries::delete_expired(tx)?;
        store::webhooks::delete_expired_secrets(tx)?;
        store::common::retention::delete_expired(tx)?;
        store::signing::live_tokens::delete_expired(tx)?;
        store::exchange_counts::delete_expired(tx)?;
        store::credentials::revoked_tokens::delete_expired(tx, late)
    });
    expired.await?;
    while services.lifecycle.phase() < Phase::Stopping {
        let orphaned = services.store.run_internal(NoEvent::Cleanup, |tx| {
            let records = store::access::access_records::delete_orphaned(tx, BATCH_SIZE)?;
            Ok(records + store::directory::members::delete_orphaned(tx, BATCH_SIZE)?)
        });
        if orphaned.await? == 0 {
            break;
        }
    }
    Ok(())
}
