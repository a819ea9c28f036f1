//! `GET /v1/overview`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{api_key::KeyCounts, policy::ReadOverview, time::Timestamp, usage::Hour},
    http::{access::Caller, openapi::answers::Plain, problem::Problem},
    service::{
        App, Fault,
        overview::{self, Overview},
    },
};

use super::{params::Query, plain};

/// The longest time that is looked back on: 30 days.
const MAX_HOURS: u32 = 720;

/// How much is exchanged, what is refused and why, and how many keys there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Overview)]
pub struct OverviewBody {
    /// The hours in which any key was presented, oldest first.
    #[schema(max_items = 720)]
    exchanges: Vec<HourBody>,
    /// As they were half a minute ago at most; null where there are too many to be counted in time.
    keys: Option<KeysBody>,
    as_of: Timestamp,
}

/// An hour, and what became of the keys that were presented in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HourOfExchanges)]
struct HourBody {
    /// When it began.
    at: Timestamp,
    /// How many were exchanged or validated.
    #[schema(minimum = 0)]
    granted: i64,
    /// How many were not, by cause: the words of the metric `keyswap_exchanges`.
    refused: BTreeMap<String, i64>,
}

/// Keys by what is written on them; those that were deleted are not counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeysByState)]
struct KeysBody {
    active: i64,
    suspended: i64,
    expired: i64,
    revoked: i64,
    /// Active ones that expire within 14 days.
    expiring: i64,
}

impl From<KeyCounts> for KeysBody {
    fn from(KeyCounts { active, suspended, expired, revoked, expiring }: KeyCounts) -> Self {
        Self { active, suspended, expired, revoked, expiring }
    }
}

impl From<(Hour, BTreeMap<String, i64>)> for HourBody {
    fn from((hour, mut results): (Hour, BTreeMap<String, i64>)) -> Self {
        let granted = results.remove("granted").unwrap_or_default();
        Self { at: hour.begins(), granted, refused: results }
    }
}

/// How much is exchanged, what is refused and why, and how many keys there are. The last seconds may be missing.
#[utoipa::path(get, path = "", params(("hours" = Option<u32>, Query, description = "How many hours, the present one among them: 24 unless told.", minimum = 1, maximum = 720)), responses(Plain<OverviewBody>))]
pub async fn get(_: Caller<ReadOverview>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let expected = "a number from 1 to 720";
    let hours = Query::of(&request, &["hours"])?.parse("hours", expected)?.unwrap_or(24);
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(Problem::invalid(vec![Fault::new("hours", format!("must be {expected}"))]));
    }
    let Overview { exchanges, keys, now } = overview::overview(&app, hours).await?;
    Ok(plain(&OverviewBody {
        exchanges: exchanges.into_iter().map(HourBody::from).collect(),
        keys: keys.map(KeysBody::from),
        as_of: now,
    }))
}
