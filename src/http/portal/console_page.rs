//! `/console`: the operator console, with sign-in and sign-out.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    http::{
        extract::{Json, Unauthenticated, deserialize_secret, request_call},
        openapi::responses::{HtmlPage, PermissionMissing, SessionCookieResponse},
        portal::{
            assets::Assets,
            cookie::{self, SessionPage},
            page::{FromConsole, serve_page, with_cookie},
        },
        problem::Problem,
    },
    service::{Services, portal::console},
};

/// Returns the operator console.
#[utoipa::path(get, path = "", responses(HtmlPage))]
pub async fn page(_: Unauthenticated, assets: Data<Assets>) -> HttpResponse {
    serve_page(&assets.console)
}

/// The credential for signing in to the console.
#[derive(Deserialize, ToSchema)]
#[schema(as = ConsoleSignIn)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    /// An API key with management permissions.
    #[serde(deserialize_with = "deserialize_secret")]
    #[schema(value_type = String, max_length = 512)]
    key: Zeroizing<String>,
}

/// Exchanges an API key for a console session, which is set as a cookie.
///
/// Only the console can send this request.
#[utoipa::path(post, path = "", responses(SessionCookieResponse, PermissionMissing))]
pub async fn sign_in(
    _: FromConsole,
    request: HttpRequest,
    Json(SignInBody { key }): Json<SignInBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let signed_in = console::sign_in(&services, key.trim(), &request_call(&request)).await?;
    let Some(signed_in) = signed_in else { return Err(Problem::forbidden(&console::REQUIRED_PERMISSIONS)) };
    Ok(with_cookie(cookie::set(SessionPage::Console, signed_in.token.expose(), signed_in.lasts)))
}

/// Ends the console session of the browser, if there is one.
#[utoipa::path(post, path = "", responses(SessionCookieResponse))]
pub async fn sign_out(_: FromConsole, request: HttpRequest, services: Data<Services>) -> Result<HttpResponse, Problem> {
    if let Some(session) = cookie::find_session(SessionPage::Console, request.headers()) {
        // If this fails, the cookie is kept: only its holder can end the session later.
        console::sign_out(&services, session, &request_call(&request)).await?;
    }
    Ok(with_cookie(cookie::clear(SessionPage::Console)))
}
