//! `POST /oauth/revoke` (RFC 7009).

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, PRAGMA},
    web::Data,
};

use crate::{
    http::{credentials::client::ClientRequest, oauth_error::OAuthError, openapi::responses::Revoked},
    service::{Services, introspection::revoke},
};

/// Revokes an API key or token of the caller, or one that the caller may revoke through `/v1`.
///
/// Any other key or token gets the same response, which does not disclose what other callers hold.
#[utoipa::path(post, path = "", security(("basic" = []), ("bearer" = [])), responses(Revoked))]
pub async fn revoke(client: ClientRequest, services: Data<Services>) -> Result<HttpResponse, OAuthError> {
    revoke::revoke(&services, &client.identity.caller, client.token()?)
        .await
        .map_err(OAuthError::from_revocation_error)?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache")).finish())
}
