//! Cross-origin requests (Fetch §3.2). Pages of any origin may read public documents. Pages of the
//! configured origins may call `/v1` with a token in a header. Cookies are never accepted across
//! origins. `Keyswap-On-Behalf-Of` and `X-API-Key` are not allowed: they are for back ends, and a
//! page must not hold an API key.

use std::sync::Arc;

use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
        },
    },
    middleware::Next,
    web::Data,
};

use crate::{config::live::ReloadableSettings, service::Services};

/// Lifetime of a cached preflight response of `/v1`, in seconds.
const MAX_AGE: &str = "600";
/// Lifetime of a cached preflight response of a public document, in seconds. The response is
/// constant.
const PUBLIC_MAX_AGE: &str = "86400";

/// What a page may send to `/v1`, next to what needs no preflight.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const HEADERS: [&str; 5] = ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key"];
/// The headers of responses of `/v1` that a page may read.
const EXPOSED_HEADERS: &str = "ETag, Location, Retry-After, WWW-Authenticate, X-Request-Id, Keyswap-Credential-End, \
                               Accept-Patch, Idempotency-Replayed, RateLimit, RateLimit-Policy";
/// What a response of `/v1` depends on, for caches.
const VARY_BY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Lets pages of the configured origins call `/v1`. Requests of other pages are answered like those
/// of programs, without the headers that let a page read the response. The origins are read for
/// each request, because they can change.
pub async fn serve_allowed_origins(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let live = request.app_data::<Data<Services>>().map(|services| Arc::clone(&services.live.load()));
    let is_configured = live.as_ref().is_some_and(|live| !live.allowed_origins.is_empty());
    let is_preflight = request.method() == Method::OPTIONS;
    let origin = live
        .and_then(|live| find_allowed_origin(&request, &live))
        .filter(|_| !is_preflight || is_allowed_preflight(&request));
    let mut response = if origin.is_some() && is_preflight {
        let mut preflight = HttpResponse::Ok();
        preflight
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS.join(", ")))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, HEADERS.join(", ")))
            .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE));
        request.into_response(preflight.finish()).map_into_left_body()
    } else {
        next.call(request).await?.map_into_right_body()
    };
    let headers = response.headers_mut();
    if is_configured {
        headers.append(VARY, HeaderValue::from_static(VARY_BY));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
    Ok(response)
}

fn find_allowed_origin(request: &ServiceRequest, live: &ReloadableSettings) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    let is_allowed = live.allowed_origins.iter().any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes());
    is_allowed.then(|| origin.clone())
}

/// Whether the request asks for permission to send what a page may send.
fn is_allowed_preflight(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    let is_allowed = |name: &str| HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name.trim()));
    let mut lines = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
    method.is_some_and(|method| METHODS.contains(&method))
        && lines.all(|line| line.to_str().is_ok_and(|line| line.split(',').all(is_allowed)))
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
