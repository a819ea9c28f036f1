//! `/v1/status-lists`: the status of tokens, public for verifiers.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY},
    },
    web::Data,
};
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
        signing::well_known::respond_cacheable,
    },
    service::{Services, status_lists},
};

/// The time of a status list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusListQuery {
    /// Not supported: past lists are not kept. The response is 501.
    time: Option<i64>,
}

/// Retrieves a signed status list (draft-ietf-oauth-status-list-20).
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
    let list = status_lists::get(&services, &id).await?;
    if query.time.is_some() {
        return Err(Problem::not_implemented("past status lists are not kept; omit `time` for the current list"));
    }
    // Half of the time for which a verifier may use a list.
    let cache_control = format!("public, max-age={}", status_lists::build::ttl(&services) / 2);
    let zipped = accepts_gzip(&request);
    let document = if zipped { &list.gzip } else { &list.plain };
    let mut response = respond_cacheable(&request, document, "application/statuslist+jwt", &cache_control);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if zipped && response.status() == StatusCode::OK {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Returns whether `Accept-Encoding` names gzip with a non-zero weight (RFC 9110 §12.5.3).
fn accepts_gzip(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_gzip && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}
