//! Key statistics for operators: exchanges, refusals by cause, and the number of keys.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        credentials::api_key::KeyCounts,
        exchange::usage::Hour,
    },
    service::{App, Error},
    store::{self, StoreError},
};

/// Keys that expire within this time count as expiring.
const SOON: Span = Span::from_secs(14 * 24 * 3600);
/// Minimum time between two counts. Counting millions of keys is expensive for the database.
const COUNTED_EVERY: Duration = Duration::from_secs(30);

/// The statistics of a deployment.
#[derive(Debug)]
pub struct Overview {
    /// Results of presented keys by hour, oldest first, and by result. Hours without results are
    /// omitted.
    pub exchanges: BTreeMap<Hour, BTreeMap<String, i64>>,
    /// `None` until a count succeeds. A count fails, for example, if it exceeds the statement
    /// timeout.
    pub keys: Option<KeyCounts>,
    pub now: Timestamp,
}

/// Returns the results of the last `hours` hours, including the current one, and the number of
/// keys.
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

/// Counts the keys while concurrent requests wait for the result. After a failure the previous
/// counts are returned, and there is no new attempt for `COUNTED_EVERY`.
async fn counted(app: &App) -> Option<KeyCounts> {
    let mut last = app.census.0.lock().await;
    let before = match *last {
        Some((at, keys)) if at.elapsed() < COUNTED_EVERY => return keys,
        Some((_, keys)) => keys,
        None => None,
    };
    let count = app.store.read(|connection| {
        let now = store::now(connection)?;
        store::portal::key_statistics::keys(connection, now, SOON)
    });
    let keys = count.await.inspect_err(|error: &StoreError| tracing::warn!(%error, "the keys could not be counted"));
    let keys = keys.ok().or(before);
    *last = Some((Instant::now(), keys));
    keys
}
