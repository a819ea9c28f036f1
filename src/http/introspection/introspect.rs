//! `POST /oauth/introspect` (RFC 7662), with a response in JSON or as a JWT (RFC 9701).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
    web::Data,
};

use crate::{
    domain::{access::policy::ValidateCredentials, exchange::introspection::IntrospectionResponse},
    http::{
        accept::prefers,
        credentials::client::AuthorizedClient,
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::responses::{INTROSPECTION_JWT_TYPE, IntrospectionResponses},
    },
    service::{Services, introspection::introspect},
};

/// Returns whether an API key or token is active, and its permissions at the calling service.
///
/// Responses must not be cached.
#[utoipa::path(post, path = "", responses(IntrospectionResponses<IntrospectionResponse>))]
pub async fn introspect(
    permitted: AuthorizedClient<ValidateCredentials>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, OAuthError> {
    let client = &permitted.client;
    let to_oauth_error = |error| OAuthError::from_denied(error, RejectedKeyError::Client);
    let body = introspect::introspect(&services, &client.identity, client.token()?, client.resource()?.as_ref())
        .await
        .map_err(to_oauth_error)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    if !prefers(request.headers(), INTROSPECTION_JWT_TYPE, "application/json") {
        return Ok(response.json(body));
    }
    let signed = introspect::sign(&services, &client.identity, &body).await.map_err(to_oauth_error)?;
    Ok(response.insert_header((CONTENT_TYPE, INTROSPECTION_JWT_TYPE)).body(signed.expose().to_owned()))
}
