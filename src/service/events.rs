//! Reading the audit trail, and waiting for more of it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    crypto,
    domain::{
        event::{Event, EventFilter},
        page::Page,
    },
    store,
};

use super::{App, Error};

/// How often a waiting reader looks. A change on another replica is seen no other way.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The events that come after number `after` in the order asked for; where there are none, waits up to `wait` for some.
///
/// # Errors
/// The database does not answer.
pub async fn list(
    app: &App,
    filter: EventFilter,
    after: Option<i64>,
    limit: i64,
    wait: Duration,
) -> Result<Page<Event>, Error> {
    let deadline = Instant::now() + wait;
    loop {
        let asked = filter.clone();
        let page = app.store.read(move |connection| store::events::list(connection, &asked, after, limit)).await?;
        let now = Instant::now();
        if !page.data.is_empty() || now >= deadline {
            return Ok(page);
        }
        sleep_until(deadline.min(now + LOOK_EVERY)).await;
    }
}

/// Follows the chain of hashes through the whole trail.
///
/// # Errors
/// The database does not answer, or a link is broken: the message says at which event.
pub async fn verify_chain(app: &App) -> Result<i64, Error> {
    // The head first: what is added meanwhile is not looked at, and what it counts must be there.
    let (last, last_hash) = app.store.read(store::events::head).await?;
    let (mut after, mut prev_hash) = (0, Event::genesis());
    while after < last {
        let page = list(app, EventFilter::default(), Some(after), 1000, Duration::ZERO).await?;
        if page.data.is_empty() {
            return Err(Error::Internal(format!("the audit trail ends after event {after}, and had {last}")));
        }
        for event in page.data.iter().filter(|event| event.seq <= last) {
            if event.seq != after + 1 || event.prev_hash != prev_hash {
                return Err(Error::Internal(format!("the audit trail is broken before event {}", event.seq)));
            }
            after = event.seq;
            prev_hash = event.hash(crypto::sha256)?;
        }
    }
    if prev_hash != last_hash {
        return Err(Error::Internal(format!("event {last} of the audit trail is not the one that was written")));
    }
    Ok(last)
}
