//! Key statistics for operators: exchanges, refusals by cause, and the number of keys.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        credentials::api_key::KeyCounts,
        exchange::usage::UtcHour,
    },
    service::{Error, Services},
    store::{self, StoreError},
};

/// Keys that expire within this time count as expiring.
const EXPIRING_WITHIN: Span = Span::from_secs(14 * 24 * 3600);
/// Minimum time between two counts. Counting millions of keys is expensive for the database.
const MIN_COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// The statistics of a deployment.
#[derive(Debug)]
pub struct KeyStatistics {
    /// Results of presented keys by hour, oldest first, and by result. Hours without results are
    /// omitted.
    pub exchanges: BTreeMap<UtcHour, BTreeMap<String, i64>>,
    /// `None` until a count succeeds. A count fails, for example, if it exceeds the statement
    /// timeout.
    pub keys: Option<KeyCounts>,
    pub now: Timestamp,
}

/// Returns the results of the last `hours` hours, including the current one, and the number of
/// keys.
pub async fn get_key_statistics(services: &Services, hours: i64) -> Result<KeyStatistics, Error> {
    let (now, exchanges) = services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let first = UtcHour::of(now).minus(hours - 1);
            Ok::<_, StoreError>((now, store::exchange_counts::read_counts_since(connection, first)?))
        })
        .await?;
    Ok(KeyStatistics { exchanges, keys: count_keys_cached(services).await, now })
}

/// Counts the keys while concurrent requests wait for the result. After a failure the previous
/// counts are returned, and there is no new attempt for `MIN_COUNT_INTERVAL`.
async fn count_keys_cached(services: &Services) -> Option<KeyCounts> {
    let mut last = services.key_statistics.0.lock().await;
    let before = match *last {
        Some((at, keys)) if at.elapsed() < MIN_COUNT_INTERVAL => return keys,
        Some((_, keys)) => keys,
        None => None,
    };
    let count = services.store.read(|connection| {
        let now = store::now(connection)?;
        store::portal::key_statistics::keys(connection, now, EXPIRING_WITHIN)
    });
    let keys = count.await.inspect_err(|error: &StoreError| tracing::warn!(%error, "the keys could not be counted"));
    let keys = keys.ok().or(before);
    *last = Some((Instant::now(), keys));
    keys
}
