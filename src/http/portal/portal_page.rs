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
        openapi::responses::{Page as PageResponse, SessionCookieResponse},
        portal::{
            assets::Assets,
            cookie::{self, Page},
            page::{FromPortal, serve_page, with_cookie},
        },
        problem::Problem,
    },
    service::{Services, portal::page},
};

/// Returns the page on which a user manages API keys.
#[utoipa::path(get, path = "", responses(PageResponse))]
pub async fn page(_: Unauthenticated, request: HttpRequest, assets: Data<Assets>) -> HttpResponse {
    serve_page(&request, &assets.portal)
}

/// The code that follows `#code=` in the URL of a portal session.
#[derive(Deserialize, ToSchema)]
#[schema(as = PortalCode)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    #[schema(max_length = 512)]
    code: String,
}

/// Exchanges a code for a page session, which is set as a cookie.
///
/// A code is valid once, within one minute. Only the hosted pages can send this request.
#[utoipa::path(post, path = "", responses(SessionCookieResponse))]
pub async fn sign_in(
    _: FromPortal,
    request: HttpRequest,
    Json(SignInBody { code }): Json<SignInBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let replaced = cookie::find_session(Page::Portal, request.headers());
    let signed_in = page::sign_in(&services, &code, replaced, &request_call(&request)).await?;
    Ok(with_cookie(cookie::set(Page::Portal, signed_in.cookie.expose(), signed_in.lasts)))
}

/// Ends the page session of the browser, if there is one.
#[utoipa::path(post, path = "", responses(SessionCookieResponse))]
pub async fn sign_out(_: FromPortal, request: HttpRequest, services: Data<Services>) -> Result<HttpResponse, Problem> {
    let ended = match cookie::find_session(Page::Portal, request.headers()) {
        Some(session) => page::sign_out(&services, session, &request_call(&request)).await.map_err(Problem::from),
        None => Ok(()),
    };
    Ok(ended.map_or_else(
        |problem| clear_session_cookie(problem.error_response()),
        |()| with_cookie(cookie::clear(Page::Portal)),
    ))
}

/// Clears the cookie although the session could not be ended, because the session expires soon.
fn clear_session_cookie(mut response: HttpResponse) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(&cookie::clear(Page::Portal)) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}
