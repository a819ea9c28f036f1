//! `GET /v1/overview`.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::access::policy::ReadStatistics,
    http::{
        extract::{Caller, Count, Query},
        problem::Problem,
        response::Unversioned,
    },
    service::portal::key_statistics::KeyStatistics,
};

/// Maximum length of the reported period: 30 days.
const MAX_PERIOD_HOURS: i64 = 720;

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
    caller: Caller<ReadStatistics>,
    Query(PeriodQuery { hours }): Query<PeriodQuery>,
) -> Result<Unversioned<KeyStatistics>, Problem> {
    Ok(Unversioned(caller.services.key_statistics.get(&caller.services.store, hours.0).await?))
}
