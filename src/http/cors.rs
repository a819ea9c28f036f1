//! Cross-origin requests (Fetch §3.2). Pages of any origin may read public documents. Pages of the
//! configured origins may call `/v1` with a token in a header. Cookies are never accepted across
//! origins. `Keyswap-On-Behalf-Of` and `X-API-Key` are not allowed: they are for back ends, and a
//! page must not hold an API key.

use actix_cors::Cors;
use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName,
            HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
        },
    },
    middleware::Next,
};

use crate::{
    domain::common::origin::Origin,
    http::{api_keys::credential_end::CREDENTIAL_END, extract::request::REQUEST_ID},
};

/// Lifetime of a cached preflight response of `/v1`, in seconds.
const MAX_AGE: usize = 600;
/// Lifetime of a cached preflight response of a public document, in seconds. The response is
/// constant.
const PUBLIC_MAX_AGE: &str = "86400";

pub fn build_v1_cors(origins: &[Origin]) -> Cors {
    let name = HeaderName::from_static;
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, name("idempotency-key")])
        .expose_headers([
            ETAG,
            LOCATION,
            RETRY_AFTER,
            WWW_AUTHENTICATE,
            REQUEST_ID,
            CREDENTIAL_END,
            name("accept-patch"),
            name("idempotency-replayed"),
            name("ratelimit"),
            name("ratelimit-policy"),
        ])
        .max_age(MAX_AGE);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin.as_str()))
}

/// Returns whether the path is a public document, which pages of any origin may read.
pub fn is_public_document(path: &str) -> bool {
    path.starts_with("/.well-known/") || path.starts_with("/v1/status-lists") || path == "/openapi.json"
}

/// Answers preflights of public documents, and lets pages read their errors. The headers are the
/// same for every origin, so caches need no `Vary`.
pub async fn serve_public_document(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = if request.method() == Method::OPTIONS {
        let mut preflight = HttpResponse::NoContent();
        preflight
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"))
            // `*` does not include `Authorization`, which no public document reads.
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match, *"))
            .insert_header((ACCESS_CONTROL_MAX_AGE, PUBLIC_MAX_AGE));
        request.into_response(preflight.finish()).map_into_left_body()
    } else {
        next.call(request).await?.map_into_right_body()
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After, X-Request-Id"));
    Ok(response)
}
