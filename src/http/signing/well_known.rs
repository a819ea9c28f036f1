//! Public documents that clients may cache: the JWKS (RFC 7517 §5) and the server metadata
//! (RFC 8414 §3).

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING,
        CONTENT_TYPE, ETAG, Encoding, Header as _, HeaderValue, VARY,
    },
    web::{Bytes, Data},
};

use crate::{
    domain::signing::Algorithm,
    http::{
        extract::{Unauthenticated, parameter_names::find_resembled},
        oauth_error::OAuthError,
        openapi::{documents::Jwks, responses::CacheableResponse},
        problem::Problem,
    },
    service::{
        Services,
        common::document::CachedDocument,
        signing::metadata::{self, ResourceMetadata, ServerMetadata},
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
        return Ok(serve_document(&services, &document, "application/jwk-set+json"));
    }
    let document = match algorithm {
        None => &view.jwks,
        Some(algorithm) => view.jwks_by_algorithm.get(&algorithm).unwrap_or(&view.jwks),
    };
    Ok(serve_document(&services, document, "application/jwk-set+json"))
}

/// Parses `alg`. Other parameters are ignored.
fn parse_algorithm(query: &str) -> Result<Option<Algorithm>, OAuthError> {
    let parameters = || form_urlencoded::parse(query.as_bytes());
    if parameters().any(|(name, _)| find_resembled(&["alg"], &name).is_some()) {
        return Err(invalid_algorithm());
    }
    let mut values = parameters().filter(|(name, _)| name == "alg").map(|(_, value)| value);
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
pub async fn metadata(_: Unauthenticated, services: Data<Services>) -> Result<HttpResponse, OAuthError> {
    let document = metadata::metadata(&services).map_err(|error| OAuthError::from_service_error(&error))?;
    Ok(serve_document(&services, &document, "application/json"))
}

/// Returns the metadata of `/v1` as a protected resource (RFC 9728).
#[utoipa::path(get, path = "", responses(CacheableResponse<ResourceMetadata>))]
pub async fn resource_metadata(_: Unauthenticated, services: Data<Services>) -> Result<HttpResponse, OAuthError> {
    let document = metadata::resource_metadata(&services).map_err(|error| OAuthError::from_service_error(&error))?;
    Ok(serve_document(&services, &document, "application/json"))
}

/// Serves a document with a strong ETag. `max-age` is half of `verifier_cache_ttl`, from which the
/// rotation rules are computed. The other half is left for a cache between Keyswap and the
/// verifier.
fn serve_document(services: &Services, document: &CachedDocument, content_type: &'static str) -> HttpResponse {
    let max_age = services.settings.timing.verifier_cache_ttl.as_secs() / 2;
    // A snapshot that is too old to sign may lack a key that another replica signs with. It is
    // served, but must be revalidated.
    let view = services.keys.view();
    let is_certain = services.keys.is_cacheable(&view) && !view.is_halted();
    let cache_control = if is_certain { format!("public, max-age={max_age}") } else { "no-cache".to_owned() };
    respond_cacheable(document, content_type, &cache_control)
}

/// Serves a document with its ETag, by which a conditional request is evaluated.
pub fn respond_cacheable(document: &CachedDocument, content_type: &'static str, cache_control: &str) -> HttpResponse {
    // Also for HEAD: the server omits the body and keeps its length (RFC 9110 §9.3.2).
    HttpResponse::Ok()
        .insert_header((ETAG, document.etag.as_str()))
        .insert_header((CACHE_CONTROL, cache_control))
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"))
        .insert_header((CONTENT_TYPE, content_type))
        .body(Bytes::from_owner(Arc::clone(&document.body)))
}

/// Like `respond_cacheable`, for a document that also has a gzip form. `choose` returns the form
/// that the client accepts (RFC 9110 §12.5.3).
pub fn respond_encoded<'a>(
    request: &HttpRequest,
    choose: impl FnOnce(bool) -> Result<&'a CachedDocument, Problem>,
    content_type: &'static str,
    cache_control: &str,
) -> Result<HttpResponse, Problem> {
    let offered = [Encoding::identity(), Encoding::gzip()];
    let accepted = AcceptEncoding::parse(request);
    let takes_gzip = accepted.is_ok_and(|accepted| accepted.negotiate(offered.iter()) == Some(Encoding::gzip()));
    let mut response = respond_cacheable(choose(takes_gzip)?, content_type, cache_control);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if takes_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
