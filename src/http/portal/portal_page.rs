//! `/portal/…`: the hosted pages, with sign-in and sign-out.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::header::{HeaderValue, SET_COOKIE},
    web::Data,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    http::{
        extract::{Json, Unauthenticated, request_call},
        openapi::responses::{AnotherUserSignedIn, HtmlPage, SessionCookieResponse},
        portal::{
            assets::Assets,
            cookie::{self, SessionPage},
            page::{FromPortal, serve_page, with_cookie},
        },
        problem::Problem,
    },
    service::{
        Services,
        portal::page::{self, CurrentSession},
    },
};

/// Returns the page on which a user manages API keys.
#[utoipa::path(get, path = "", responses(HtmlPage))]
pub async fn page(_: Unauthenticated, assets: Data<Assets>) -> HttpResponse {
    serve_page(&assets.portal)
}

/// The code that follows `#code=` in the URL of a portal session.
#[derive(Deserialize, ToSchema)]
#[schema(as = PortalCode)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    #[schema(max_length = 512)]
    code: String,
    /// Whether to replace the session of another user, if there is one in this browser.
    #[serde(default)]
    replace: bool,
}

/// Exchanges a code for a page session, which is set as a cookie.
///
/// A code is valid once, within one minute. If another user is signed in in this browser, the
/// request is refused with 409 unless `replace` is true, and the code stays valid. Only the hosted
/// pages can send this request.
#[utoipa::path(post, path = "", responses(SessionCookieResponse, AnotherUserSignedIn))]
pub async fn sign_in(
    _: FromPortal,
    request: HttpRequest,
    Json(SignInBody { code, replace }): Json<SignInBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let cookie = cookie::find_session(SessionPage::Portal, request.headers());
    let current = CurrentSession { cookie, may_be_replaced: replace };
    let signed_in = page::sign_in(&services, &code, current, &request_call(&request)).await?;
    Ok(with_cookie(cookie::set(SessionPage::Portal, signed_in.cookie.expose(), signed_in.lasts)))
}

/// Ends the page session of the browser, if there is one.
#[utoipa::path(post, path = "", responses(SessionCookieResponse))]
pub async fn sign_out(_: FromPortal, request: HttpRequest, services: Data<Services>) -> Result<HttpResponse, Problem> {
    let ended = match cookie::find_session(SessionPage::Portal, request.headers()) {
        Some(session) => page::sign_out(&services, session, &request_call(&request)).await.map_err(Problem::from),
        None => Ok(()),
    };
    Ok(ended.map_or_else(
        |problem| clear_session_cookie(problem.error_response()),
        |()| with_cookie(cookie::clear(SessionPage::Portal)),
    ))
}

/// Clears the cookie although the session could not be ended, because the session expires soon.
fn clear_session_cookie(mut response: HttpResponse) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(&cookie::clear(SessionPage::Portal)) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}
