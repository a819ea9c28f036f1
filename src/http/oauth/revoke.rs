//! `POST /oauth/revoke` (RFC 7009).

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, PRAGMA},
    web::Data,
};

use crate::{
    http::openapi::answers::Done,
    service::{App, revocation},
};

use super::{client::Client, error::OauthError};

/// Ends a key or a token: the caller's own, or one that the caller may end at `/v1`.
///
/// What is neither is answered the same: nobody learns here what somebody else holds.
#[utoipa::path(post, path = "", security(("basic" = []), ("bearer" = [])), responses(Done))]
pub async fn revoke(client: Client, app: Data<App>) -> Result<HttpResponse, OauthError> {
    revocation::revoke(&app, &client.identity.caller, client.token()?).await.map_err(OauthError::not_revoked)?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache")).finish())
}
