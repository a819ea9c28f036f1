//! What an operator looks at first: how much is exchanged, what is refused and why, and how many keys there are.

use std::collections::BTreeMap;

use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        api_key::KeyCounts,
        time::{Span, Timestamp},
        usage::Hour,
    },
    store::{self, StoreError},
};

use super::{App, Error};

/// Keys that end within this are about to.
const SOON: Span = Span::from_secs(14 * 24 * 3600);
/// Counting millions of keys takes a while: nobody makes the database do it more often than this.
const COUNTED_EVERY: Duration = Duration::from_secs(30);

/// How many keys there were when they were last counted here, and when that was last tried.
#[derive(Debug, Default)]
pub struct Census(Mutex<Option<(Instant, Option<KeyCounts>)>>);

/// The whole of it.
#[derive(Debug)]
pub struct Overview {
    /// What became of the keys that were presented: by hour, oldest first, and by result. Hours without any are missing.
    pub exchanges: BTreeMap<Hour, BTreeMap<String, i64>>,
    /// Nothing where counting them took longer than the database may take.
    pub keys: Option<KeyCounts>,
    pub now: Timestamp,
}

/// What happened in the last `hours`, the present one among them, and how many keys there are.
///
/// # Errors
/// The database does not answer.
pub async fn overview(app: &App, hours: u32) -> Result<Overview, Error> {
    let (now, exchanges) = app
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let first = Hour::of(now).before(i64::from(hours) - 1);
            Ok::<_, StoreError>((now, store::exchange_counts::since(connection, first)?))
        })
        .await?;
    Ok(Overview { exchanges, keys: counted(app).await, now })
}

/// One counts, and who comes meanwhile waits for it. Where it fails the numbers of before are shown, and it is not tried again at once.
async fn counted(app: &App) -> Option<KeyCounts> {
    let mut last = app.census.0.lock().await;
    let before = match *last {
        Some((at, keys)) if at.elapsed() < COUNTED_EVERY => return keys,
        Some((_, keys)) => keys,
        None => None,
    };
    let count = app.store.read(|connection| {
        let now = store::now(connection)?;
        store::census::keys(connection, now, SOON)
    });
    let keys = count.await.inspect_err(|error: &StoreError| tracing::warn!(%error, "the keys could not be counted"));
    let keys = keys.ok().or(before);
    *last = Some((Instant::now(), keys));
    keys
}
