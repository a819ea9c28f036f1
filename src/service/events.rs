//! Reading the audit log, and waiting for new events.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto,
    domain::{
        common::{page::Page, time::Span},
        event_filter::{EventFilter, EventOrder},
        events::Event,
    },
    service::{Error, Services},
    store,
};

/// Maximum time that a reader waits for the next event.
const MAX_WAIT: Span = Span::from_secs(30);
/// Polling interval of a waiting reader. Polling is the only way to find events of other replicas.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the events that follow the sequence number `after` in the requested order. If there are
/// none, waits up to `wait` for new ones. The end of the process ends the wait.
pub async fn list(
    services: &Services,
    filter: EventFilter,
    after: Option<i64>,
    limit: i64,
    wait: Span,
) -> Result<Page<Event>, Error> {
    if filter.order == EventOrder::NewestFirst && wait > Span::ZERO {
        return Err(Error::invalid("wait", "requires order=oldest"));
    }
    if wait > MAX_WAIT {
        return Err(Error::invalid("wait", format!("must be at most {MAX_WAIT}")));
    }
    let deadline = Instant::now() + wait.duration();
    let mut phase_changes = services.lifecycle.changes();
    loop {
        let filter = filter.clone();
        let page =
            services.store.read(move |connection| store::events::list(connection, &filter, after, limit)).await?;
        let now = Instant::now();
        if !page.data.is_empty() || now >= deadline {
            return Ok(page);
        }
        tokio::select! {
            () = sleep_until(deadline.min(now + POLL_INTERVAL)) => {}
            () = phase_changes.next() => return Ok(page),
        }
    }
}

/// A part of the audit log: up to `limit` events after the event `after`, whose hash is `hash`.
#[derive(Debug)]
pub(crate) struct EventRange {
    pub after: i64,
    pub hash: String,
    pub limit: i64,
}

/// Verifies the hash chain of the whole audit log and returns the last sequence number. The error
/// for a broken link names the event.
pub async fn verify_audit_log(services: &Services) -> Result<i64, Error> {
    let mut range = EventRange { after: 0, hash: Event::genesis_hash(), limit: 100_000 };
    loop {
        let after = range.after;
        match verify_range(services, range).await? {
            Ok(Some((after, hash))) => range = EventRange { after, hash, limit: 100_000 },
            Ok(None) => return Ok(services.store.read(store::events::read_chain_head).await?.0.max(after)),
            Err(seq) => return Err(Error::internal(format!("the audit log is broken at event {seq}"))),
        }
    }
}

/// Verifies the hash chain after an event, up to the end of the range or of the log. Returns where
/// to continue, or `None` at the end of the log. The inner error is the number of the event that
/// was altered or deleted.
pub(crate) async fn verify_range(
    services: &Services,
    range: EventRange,
) -> Result<Result<Option<(i64, String)>, i64>, Error> {
    // The chain head is read first: events that are appended later are not verified, and every
    // event up to the head must exist.
    let (last, last_hash) = services.store.read(store::events::read_chain_head).await?;
    let EventRange { mut after, mut hash, limit } = range;
    let end = last.min(after + limit);
    while after < end {
        let page = list(services, EventFilter::default(), Some(after), 1000, Span::ZERO).await?;
        if page.data.is_empty() {
            return Ok(Err(after + 1));
        }
        for event in page.data.iter().filter(|event| event.seq <= end) {
            if event.seq != after + 1 {
                return Ok(Err(after + 1));
            }
            if event.prev_hash != hash {
                // The next event has the hash of the one that was altered.
                return Ok(Err(after.max(1)));
            }
            after = event.seq;
            hash = event.hash(crypto::sha256)?;
        }
    }
    if after < last {
        return Ok(Ok(Some((after, hash))));
    }
    Ok(if hash == last_hash { Ok(None) } else { Err(last) })
}
