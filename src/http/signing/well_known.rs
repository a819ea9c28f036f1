//! Public documents that clients may cache: the JWKS (RFC 7517 §5) and the server metadata
//! (RFC 8414 §3).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        X_CONTENT_TYPE_OPTIONS,
    },
    web::Data,
};

use crate::{
    domain::signing::Algorithm,
    http::{
        extract::Unauthenticated,
        oauth_error::OAuthError,
        openapi::{documents::Jwks, responses::CacheableResponse},
    },
    service::{
        Services,
        common::document::CachedDocument,
        signing::metadata::{self, ServerMetadata},
    },
};

/// Returns the published signing keys.
///
/// `?alg=ES256` restricts the response to one algorithm, for verifiers that fail on unknown key
/// types.
#[utoipa::path(get, path = "", params(("alg" = Option<Algorithm>, Query, description = "Only keys of this algorithm.")), responses(CacheableResponse<Jwks>))]
pub async fn jwks(
    _: Unauthenticated,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let view = services.keys.snapshot_to_publish().await;
    let algorithm = parse_algorithm(request.query_string())?;
    if let Some(document) = metadata::build_jwks_after_rollback(&services, &view, algorithm) {
        return Ok(serve_document(&request, &services, &document, "application/jwk-set+json"));
    }
    let document = match algorithm {
        None => &view.jwks,
        Some(algorithm) => view.jwks_by_algorithm.get(&algorithm).unwrap_or(&view.jwks),
    };
    Ok(serve_document(&request, &services, document, "application/jwk-set+json"))
}

/// Parses `alg`. Other parameters are ignored.
fn parse_algorithm(query: &str) -> Result<Option<Algorithm>, OAuthError> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "alg").map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => text.parse().map(Some).map_err(|_| invalid_algorithm()),
        (Some(_), Some(_)) => Err(invalid_algorithm()),
    }
}

fn invalid_algorithm() -> OAuthError {
    OAuthError::invalid_request("alg must appear once, with one of ES256, ES384, EdDSA, RS256, PS256")
}

/// Returns the metadata of the authorization server (RFC 8414, OpenID Connect Discovery 1.0).
#[utoipa::path(get, path = "", responses(CacheableResponse<ServerMetadata<'static>>))]
pub async fn metadata(
    _: Unauthenticated,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let document = metadata::metadata(&services).map_err(|error| OAuthError::from_service_error(&error))?;
    Ok(serve_document(&request, &services, &document, "application/json"))
}

/// Serves a document with a strong ETag. `max-age` is half of `verifier_cache_ttl`, from which the
/// rotation rules are computed. The other half is left for a cache between Keyswap and the
/// verifier.
fn serve_document(
    request: &HttpRequest,
    services: &Services,
    document: &CachedDocument,
    content_type: &'static str,
) -> HttpResponse {
    let max_age = services.settings.timing.verifier_cache_ttl.as_secs() / 2;
    // A snapshot that is too old to sign may lack a key that another replica signs with. It is
    // served, but must be revalidated.
    let view = services.keys.view();
    let is_certain = services.keys.is_cacheable(&view) && !view.is_halted();
    let cache_control = if is_certain { format!("public, max-age={max_age}") } else { "no-cache".to_owned() };
    respond_cacheable(request, document, content_type, &cache_control)
}

/// Serves a document with its ETag, or 304 if the client already has it.
pub fn respond_cacheable(
    request: &HttpRequest,
    document: &CachedDocument,
    content_type: &'static str,
    cache_control: &str,
) -> HttpResponse {
    let is_current = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == document.etag);
    let mut response = if is_current { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, document.etag.as_str()))
        .insert_header((CACHE_CONTROL, cache_control))
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if is_current {
        return response.finish();
    }
    // Also for HEAD: the server omits the body and keeps its length (RFC 9110 §9.3.2).
    response.insert_header((CONTENT_TYPE, content_type)).body(document.body.clone())
}
