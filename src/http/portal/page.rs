//! HTML pages: the hosted pages for users, and the operator console.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE, X_FRAME_OPTIONS,
    },
};

use crate::{
    http::{
        portal::{assets::CACHE_REVALIDATE, cookie::Page},
        problem::Problem,
        signing::well_known::kept,
    },
    service::common::document::CachedDocument,
};

/// Content Security Policy: no external resources, inline content, strings parsed as markup or
/// frames.
const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const GUARDS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, PAGE_CSP),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Serves a page with its security headers.
pub(crate) fn shown(request: &HttpRequest, page: &CachedDocument) -> HttpResponse {
    let mut response = kept(request, page, "text/html; charset=utf-8", CACHE_REVALIDATE);
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses a sign-in or sign-out request that `page` did not send.
pub(crate) fn require(page: Page, request: &HttpRequest) -> Result<(), Problem> {
    let asked = crate::http::portal::cookie::identify_page(request.headers()) == Some(page);
    asked.then_some(()).ok_or_else(|| Problem::bad_request("only the pages of Keyswap can send this request"))
}

pub(crate) fn with_cookie(cookie: String) -> HttpResponse {
    HttpResponse::NoContent().insert_header((CACHE_CONTROL, "no-store")).insert_header((SET_COOKIE, cookie)).finish()
}
