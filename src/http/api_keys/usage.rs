//! `GET /v1/api-keys/{id}/usage`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{access::policy::ManageKeys, common::id::KeyId, exchange::usage::UtcDay},
    http::{
        extract::{Caller, Count, Path, Query},
        problem::Problem,
        response::Unversioned,
    },
    service::api_keys::{self, MAX_USAGE_DAYS},
};

/// The usage of an API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyUsage)]
pub struct KeyUsageBody {
    /// One entry for each requested day, today first.
    #[schema(max_items = 366)]
    data: Vec<DailyUsageBody>,
}

/// A day, with the number of exchanges and validations of the key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DayOfUse)]
struct DailyUsageBody {
    day: UtcDay,
    #[schema(minimum = 0)]
    uses: i64,
}

/// The days to report.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// Number of days, including today.
    #[serde(default)]
    #[param(inline)]
    days: Count<{ MAX_USAGE_DAYS }, 30>,
}

/// Retrieves the daily usage of an API key.
///
/// Exchanges and validations of the last seconds may be missing.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    Query(UsageQuery { days }): Query<UsageQuery>,
) -> Result<Unversioned<KeyUsageBody>, Problem> {
    let uses = api_keys::usage(&caller.services, &caller, id, days.0).await?;
    Ok(Unversioned(KeyUsageBody { data: uses.into_iter().map(|(day, uses)| DailyUsageBody { day, uses }).collect() }))
}
