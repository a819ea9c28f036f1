//! `/console`: the operator console, with sign-in and sign-out.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    http::{
        extract::{access::Unauthenticated, json::Json, request::request_call},
        openapi::{
            answers::{Page as PageAnswer, PermissionMissing, SessionCookieResponse},
            params::ConsolePageHeader,
        },
        portal::{
            assets::Assets,
            cookie::{self, Page},
            page::{require, shown, with_cookie},
        },
        problem::Problem,
    },
    service::{Services, portal::console},
};

/// Returns the operator console.
#[utoipa::path(get, path = "", responses(PageAnswer))]
pub async fn page(_: Unauthenticated, request: HttpRequest, assets: Data<Assets>) -> HttpResponse {
    shown(&request, &assets.console)
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

fn deserialize_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Exchanges an API key for a console session, which is set as a cookie.
///
/// Only the console can send this request.
#[utoipa::path(post, path = "", params(ConsolePageHeader), responses(SessionCookieResponse, PermissionMissing))]
pub async fn sign_in(
    _: Unauthenticated,
    request: HttpRequest,
    body: Json<SignInBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    require(Page::Console, &request)?;
    let SignInBody { key } = body.read().await?.value;
    let signed_in = console::sign_in(&services, key.trim(), &request_call(&request)).await?;
    let Some(signed_in) = signed_in else { return Err(Problem::forbidden(&console::REQUIRED_PERMISSIONS)) };
    Ok(with_cookie(cookie::set(Page::Console, signed_in.token.expose(), signed_in.lasts)))
}

/// Ends the console session of the browser, if there is one.
#[utoipa::path(post, path = "", params(ConsolePageHeader), responses(SessionCookieResponse))]
pub async fn sign_out(
    _: Unauthenticated,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    require(Page::Console, &request)?;
    if let Some(session) = cookie::of(Page::Console, request.headers()) {
        // If this fails, the cookie is kept: only its holder can end the session later.
        console::sign_out(&services, session, &request_call(&request)).await?;
    }
    Ok(with_cookie(cookie::clear(Page::Console)))
}
