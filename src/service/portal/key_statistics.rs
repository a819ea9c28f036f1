//! Key statistics for operators: exchanges, refusals by cause, and the number of keys.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};
use utoipa::ToSchema;

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        exchange::usage::UtcHour,
        portal::key_counts::KeyCounts,
    },
    service::Error,
    store::{Store, StoreError, exchange_counts, portal::key_statistics},
};

/// Keys that expire within this time count as expiring.
const EXPIRING_WITHIN: Span = Span::from_secs(14 * 24 * 3600);
/// Minimum time between two counts. Counting millions of keys is expensive for the database.
const MIN_COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// Exchange statistics with the causes of refusals, and key statistics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Overview)]
pub struct KeyStatistics {
    /// The hours in which a key was presented, oldest first.
    #[schema(max_items = 720)]
    exchanges: Vec<HourlyExchanges>,
    /// Key statistics, computed at most every 30 seconds. If the computation fails or takes too
    /// long, the last result is returned. Null if there is no result yet.
    keys: Option<KeyCounts>,
    as_of: Timestamp,
}

/// An hour, with the results for the keys presented in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HourOfExchanges)]
struct HourlyExchanges {
    /// Start of the hour.
    at: Timestamp,
    /// Number of keys that were exchanged or validated.
    #[schema(minimum = 0)]
    granted: i64,
    /// Number of keys that were refused, by cause. The causes are those of the metric
    /// `keyswap_exchanges`.
    refused: BTreeMap<String, i64>,
}

/// The result of the last count on this server, and the time of the last attempt.
#[derive(Debug, Default)]
pub struct KeyStatisticsCache(Mutex<Option<(Instant, Option<KeyCounts>)>>);

impl KeyStatisticsCache {
    /// Returns the results of the last `hours` hours, including the current one, and the number of
    /// keys.
    pub async fn get(&self, store: &Store, hours: i64) -> Result<KeyStatistics, Error> {
        let (now, exchanges) = store
            .read_at(move |connection, now| {
                let first = UtcHour::of(now).minus(hours - 1);
                Ok::<_, StoreError>((now, exchange_counts::read_counts_since(connection, first)?))
            })
            .await?;
        let exchanges = exchanges.into_iter().map(|(hour, mut refused)| {
            let granted = refused.remove("granted").unwrap_or_default();
            HourlyExchanges { at: hour.start_time(), granted, refused }
        });
        Ok(KeyStatistics { exchanges: exchanges.collect(), keys: self.count_keys(store).await, as_of: now })
    }

    /// Counts the keys while concurrent requests wait for the result. After a failure the previous
    /// counts are returned, and there is no new attempt for `MIN_COUNT_INTERVAL`.
    async fn count_keys(&self, store: &Store) -> Option<KeyCounts> {
        let mut last = self.0.lock().await;
        let before = match *last {
            Some((at, keys)) if at.elapsed() < MIN_COUNT_INTERVAL => return keys,
            Some((_, keys)) => keys,
            None => None,
        };
        let count = store.read_at(|connection, now| key_statistics::keys(connection, now, EXPIRING_WITHIN));
        let keys = count.await.inspect_err(
            |error: &StoreError| tracing::warn!(%error, "failed to count the keys; the previous counts are used"),
        );
        let keys = keys.ok().or(before);
        *last = Some((Instant::now(), keys));
        keys
    }
}
