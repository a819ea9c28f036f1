//! `POST /oauth/revoke` (RFC 7009).

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, PRAGMA},
    web::Data,
};

use crate::{
    http::{
        credentials::client::ClientRequest,
        oauth_error::{OAuthError, RejectedKeyError},
        openapi::responses::Revoked,
    },
    service::{Services, introspection::revoke},
};

/// Revokes an API key, token or portal session that the caller holds, or may revoke through `/v1`.
///
/// Any other value gets the same response, which does not disclose what other callers hold.
#[utoipa::path(post, path = "", security(("basic" = []), ("bearer" = [])), responses(Revoked))]
pub async fn revoke(client: ClientRequest, services: Data<Services>) -> Result<HttpResponse, OAuthError> {
    revoke::revoke(&services, &client.identity.caller, client.token()?)
        .await
        .map_err(|error| OAuthError::from_denied(error, RejectedKeyError::Client))?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache")).finish())
}
