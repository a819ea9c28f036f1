//! `GET /v1/overview`.

use std::collections::BTreeMap;

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{
        access::policy::ReadStatistics, common::time::Timestamp, credentials::api_key::KeyCounts,
        exchange::usage::UtcHour,
    },
    http::{
        extract::{
            access::Caller,
            query::{Count, Query},
        },
        problem::Problem,
        response::Plain,
    },
    service::{
        Services,
        portal::key_statistics::{self, KeyStatistics},
    },
};

/// Maximum length of the reported period: 30 days.
const MAX_PERIOD_HOURS: i64 = 720;

/// Exchange statistics with the causes of refusals, and key statistics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Overview)]
pub struct KeyStatisticsBody {
    /// The hours in which a key was presented, oldest first.
    #[schema(max_items = 720)]
    exchanges: Vec<HourlyExchangesBody>,
    /// Key statistics, computed at most every 30 seconds. If the computation fails or takes too
    /// long, the last result is returned. Null if there is no result yet.
    keys: Option<KeyCountsBody>,
    as_of: Timestamp,
}

/// An hour, with the results for the keys presented in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HourOfExchanges)]
struct HourlyExchangesBody {
    /// Start of the hour.
    at: Timestamp,
    /// Number of keys that were exchanged or validated.
    #[schema(minimum = 0)]
    granted: i64,
    /// Number of keys that were refused, by cause. The causes are those of the metric
    /// `keyswap_exchanges`.
    refused: BTreeMap<String, i64>,
}

/// Number of keys by state, regardless of owner status. Deleted keys are not counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeysByState)]
struct KeyCountsBody {
    active: i64,
    suspended: i64,
    expired: i64,
    revoked: i64,
    /// Active keys that expire within 14 days.
    expiring: i64,
}

impl From<KeyCounts> for KeyCountsBody {
    fn from(KeyCounts { active, suspended, expired, revoked, expiring_soon }: KeyCounts) -> Self {
        Self { active, suspended, expired, revoked, expiring: expiring_soon }
    }
}

impl From<(UtcHour, BTreeMap<String, i64>)> for HourlyExchangesBody {
    fn from((hour, mut results): (UtcHour, BTreeMap<String, i64>)) -> Self {
        let granted = results.remove("granted").unwrap_or_default();
        Self { at: hour.start_time(), granted, refused: results }
    }
}

/// The period to report.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// Number of hours, including the current one.
    #[serde(default)]
    #[param(inline)]
    hours: Count<{ MAX_PERIOD_HOURS }, 24>,
}

/// Retrieves exchange statistics with the causes of refusals, and key statistics.
///
/// Exchanges of the last seconds may be missing.
#[utoipa::path(get, path = "")]
pub async fn get(
    _: Caller<ReadStatistics>,
    Query(PeriodQuery { hours }): Query<PeriodQuery>,
    services: Data<Services>,
) -> Result<Plain<KeyStatisticsBody>, Problem> {
    let KeyStatistics { exchanges, keys, now } = key_statistics::get_key_statistics(&services, hours.0).await?;
    Ok(Plain(KeyStatisticsBody {
        exchanges: exchanges.into_iter().map(HourlyExchangesBody::from).collect(),
        keys: keys.map(KeyCountsBody::from),
        as_of: now,
    }))
}
