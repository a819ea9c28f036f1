//! `/v1/status-lists`: the status of tokens, public for verifiers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::common::id::StatusListId,
    http::{
        extract::{Path, Query, Unauthenticated},
        openapi::{
            documents::StatusListToken,
            responses::{CacheableResponse, PastStateUnavailable},
        },
        problem::Problem,
        signing::well_known::{respond_cacheable, respond_encoded},
    },
    service::{
        Services,
        status_lists::{self, CurrentStatusList, StatusListAggregation},
    },
};

/// The time of a status list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusListQuery {
    /// Not supported: past lists are not kept. The response is 501.
    time: Option<i64>,
}

/// Retrieves a signed status list (draft-ietf-oauth-status-list-21).
///
/// The list has two bits for each index: 0 is valid, 1 is invalid and 2 is suspended.
#[utoipa::path(get, path = "", responses(CacheableResponse<StatusListToken>, PastStateUnavailable))]
pub async fn get(
    _: Unauthenticated,
    request: HttpRequest,
    Path(id): Path<StatusListId>,
    Query(query): Query<StatusListQuery>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let CurrentStatusList { list, max_age } = status_lists::get(&services, &id).await?;
    if query.time.is_some() {
        return Err(Problem::not_implemented("past status lists are not kept; omit `time` for the current list"));
    }
    // A verifier may use the list until `iat` + `ttl`, and so may a cache.
    let cache_control = format!("public, max-age={max_age}");
    let choose = |takes_gzip| Ok(if takes_gzip { &list.gzip } else { &list.plain });
    respond_encoded(&request, choose, "application/statuslist+jwt", &cache_control)
}

/// Lists the URLs of the status lists, for verifiers that fetch them in advance.
#[utoipa::path(get, path = "", responses(CacheableResponse<StatusListAggregation>))]
pub async fn aggregate(_: Unauthenticated, services: Data<Services>) -> Result<HttpResponse, Problem> {
    let document = status_lists::aggregate(&services).await?;
    let cache_control = format!("public, max-age={}", status_lists::build::ttl(&services));
    Ok(respond_cacheable(&document, "application/json", &cache_control))
}
