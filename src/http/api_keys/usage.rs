//! `GET /v1/api-keys/{id}/usage`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{access::policy::ManageKeys, common::id::KeyId, exchange::usage::UtcDay},
    http::{
        extract::{
            access::Caller,
            query::{Query, id},
        },
        openapi::{answers::Plain, params::InPath},
        problem::Problem,
        response::plain,
    },
    service::{
        InputFault, Services,
        api_keys::{self, MAX_USAGE_DAYS},
    },
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

/// Retrieves the daily usage of an API key.
///
/// Exchanges and validations of the last seconds may be missing.
#[utoipa::path(get, path = "", params(InPath<KeyId>, ("days" = Option<u32>, Query, description = "How many days, today among them: 30 unless told.", minimum = 1, maximum = 366)), responses(Plain<KeyUsageBody>))]
pub async fn get(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let expected = "a number from 1 to 366";
    let days = Query::of(&request, &["days"])?.parse("days", expected)?.unwrap_or(30);
    if !(1..=MAX_USAGE_DAYS).contains(&days) {
        return Err(Problem::invalid(vec![InputFault::new("days", format!("must be {expected}"))]));
    }
    let uses = api_keys::usage(&services, &caller.identity, id(&request, "id")?, days).await?;
    Ok(plain(&KeyUsageBody { data: uses.into_iter().map(|(day, uses)| DailyUsageBody { day, uses }).collect() }))
}
