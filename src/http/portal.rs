//! `/portal/…`: the hosted pages, and how a browser gets its session there and gives it back.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE, X_FRAME_OPTIONS,
    },
    web::Data,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::service::{App, portal_sessions::page};

use super::{
    access::Anyone,
    assets::{ASKED_AGAIN, Assets},
    openapi::{
        answers::{Page, Session},
        params::OfAPage,
    },
    page_cookie,
    problem::Problem,
    request::call,
    v1::json::Json,
    well_known::kept,
};

/// Nothing from elsewhere, nothing inline, no text read as markup, and in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const GUARDS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The page on which a user manages keys.
#[utoipa::path(get, path = "", responses(Page))]
pub async fn page(_: Anyone, request: HttpRequest, assets: Data<Assets>) -> HttpResponse {
    let mut response = kept(&request, &assets.page, "text/html; charset=utf-8", ASKED_AGAIN);
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A code, as the URL of a portal session has it behind `#code=`.
#[derive(Deserialize, ToSchema)]
#[schema(as = PortalCode)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    #[schema(max_length = 512)]
    code: String,
}

/// Spends a code for a session of the page, in a cookie: once, and within a minute. Only a page of Keyswap's can ask.
#[utoipa::path(post, path = "", params(OfAPage), responses(Session))]
pub async fn sign_in(
    _: Anyone,
    request: HttpRequest,
    body: Json<SignInBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    require_page(&request)?;
    let SignInBody { code } = body.read().await?.value;
    let replaced = page_cookie::of(request.headers());
    let signed_in = page::sign_in(&app, &code, replaced, &call(&request)).await?;
    Ok(with_cookie(page_cookie::set(&signed_in.cookie, signed_in.lasts)))
}

/// Ends the session of the page that asks, where it has one.
#[utoipa::path(post, path = "", params(OfAPage), responses(Session))]
pub async fn sign_out(_: Anyone, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    require_page(&request)?;
    let cleared = with_cookie(page_cookie::clear());
    let Some(session) = page_cookie::of(request.headers()) else { return Ok(cleared) };
    let ended = page::sign_out(&app, session, &call(&request)).await.map_err(Problem::from);
    // The browser forgets it in any case.
    Ok(ended.map_or_else(|problem| forgetting(problem.error_response()), |()| cleared))
}

fn require_page(request: &HttpRequest) -> Result<(), Problem> {
    let asked = page_cookie::is_sent_by_a_page(request.headers());
    asked.then_some(()).ok_or_else(|| Problem::bad_request("only a page of Keyswap's asks for this"))
}

fn forgetting(mut response: HttpResponse) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(&page_cookie::clear()) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

fn with_cookie(cookie: String) -> HttpResponse {
    HttpResponse::NoContent().insert_header((CACHE_CONTROL, "no-store")).insert_header((SET_COOKIE, cookie)).finish()
}
