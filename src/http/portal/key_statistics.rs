//! `GET /v1/overview`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ReadStatistics, common::time::Timestamp, credentials::api_key::KeyCounts,
        exchange::usage::UtcHour,
    },
    http::{
        extract::{access::Caller, query::Query},
        openapi::answers::Plain,
        problem::Problem,
        response::plain,
    },
    service::{
        InputFault, Services,
        portal::key_statistics::{self, KeyStatistics},
    },
};

/// Maximum length of the reported period: 30 days.
const MAX_PERIOD_HOURS: u32 = 720;

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

/// Retrieves exchange statistics with the causes of refusals, and key statistics.
///
/// Exchanges of the last seconds may be missing.
#[utoipa::path(get, path = "", params(("hours" = Option<u32>, Query, description = "How many hours, the present one among them: 24 unless told.", minimum = 1, maximum = 720)), responses(Plain<KeyStatisticsBody>))]
pub async fn get(
    _: Caller<ReadStatistics>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let expected = "a number from 1 to 720";
    let hours = Query::of(&request, &["hours"])?.parse("hours", expected)?.unwrap_or(24);
    if !(1..=MAX_PERIOD_HOURS).contains(&hours) {
        return Err(Problem::invalid(vec![InputFault::new("hours", format!("must be {expected}"))]));
    }
    let KeyStatistics { exchanges, keys, now } = key_statistics::get_key_statistics(&services, hours).await?;
    Ok(plain(&KeyStatisticsBody {
        exchanges: exchanges.into_iter().map(HourlyExchangesBody::from).collect(),
        keys: keys.map(KeyCountsBody::from),
        as_of: now,
    }))
}
