//! Reading the audit log, and waiting for new events.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto,
    domain::{
        common::page::Page,
        events::{Event, EventFilter},
    },
    service::{Error, Services},
    store,
};

/// Polling interval of a waiting reader. Polling is the only way to find events of other replicas.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the events that follow the sequence number `after` in the requested order. If there are
/// none, waits up to `wait` for new ones.
pub async fn list(
    services: &Services,
    filter: EventFilter,
    after: Option<i64>,
    limit: i64,
    wait: Duration,
) -> Result<Page<Event>, Error> {
    let deadline = Instant::now() + wait;
    loop {
        let filter = filter.clone();
        let page =
            services.store.read(move |connection| store::events::list(connection, &filter, after, limit)).await?;
        let now = Instant::now();
        if !page.data.is_empty() || now >= deadline {
            return Ok(page);
        }
        sleep_until(deadline.min(now + POLL_INTERVAL)).await;
    }
}

/// Verifies the hash chain of the whole audit log and returns the last sequence number. The error
/// for a broken link names the event.
pub async fn verify_audit_log(services: &Services) -> Result<i64, Error> {
    // The chain head is read first: events that are appended later are not verified, and every
    // event up to the head must exist.
    let (last, last_hash) = services.store.read(store::events::read_chain_head).await?;
    let (mut after, mut prev_hash) = (0, Event::genesis_hash());
    while after < last {
        let page = list(services, EventFilter::default(), Some(after), 1000, Duration::ZERO).await?;
        if page.data.is_empty() {
            return Err(Error::internal(format!("the audit log ends after event {after} of {last}")));
        }
        for event in page.data.iter().filter(|event| event.seq <= last) {
            if event.seq != after + 1 || event.prev_hash != prev_hash {
                return Err(Error::internal(format!("the audit log is broken before event {}", event.seq)));
            }
            after = event.seq;
            prev_hash = event.hash(crypto::sha256)?;
        }
    }
    if prev_hash != last_hash {
        return Err(Error::internal(format!("event {last} of the audit log differs from the one that was written")));
    }
    Ok(last)
}
