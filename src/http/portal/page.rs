//! HTML pages: the hosted pages for users, and the operator console.

use actix_web::{
    Error, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, SET_COOKIE, X_FRAME_OPTIONS,
    },
};

use serde_json::json;

use crate::{
    http::{
        extract::access::Guard,
        openapi::signature::{HandlerArgument, HandlerSignature, header_parameter},
        portal::{
            assets::CACHE_REVALIDATE,
            cookie::{SessionPage, identify_page},
        },
        problem::Problem,
        signing::well_known::respond_cacheable,
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
pub(crate) fn serve_page(page: &CachedDocument) -> HttpResponse {
    let mut response = respond_cacheable(page, "text/html; charset=utf-8", CACHE_REVALIDATE);
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Declares a guard that accepts only requests of one page. HTML forms cannot send its header.
macro_rules! define_page_guard {
    ($(#[$doc:meta])* $name:ident, $page:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl HandlerArgument for $name {
            fn describe(signature: &mut HandlerSignature) {
                signature.parameters.extend(header_parameter(json!({
                    "name": "Keyswap-Page",
                    "required": true,
                    "description": "The page that sends the request.",
                    "schema": { "type": "string", "enum": [$page.header_value()] },
                })));
            }
            async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, Error> {
                if identify_page(request.headers()) == Some($page) {
                    Ok(Self)
                } else {
                    Err(Problem::bad_request("only the pages of Keyswap can send this request").into())
                }
            }
        }

        impl Guard for $name {}
    };
}

define_page_guard!(
    /// A request of a hosted page.
    FromPortal,
    SessionPage::Portal
);
define_page_guard!(
    /// A request of the console.
    FromConsole,
    SessionPage::Console
);

pub(crate) fn with_cookie(cookie: String) -> HttpResponse {
    HttpResponse::NoContent().insert_header((CACHE_CONTROL, "no-store")).insert_header((SET_COOKIE, cookie)).finish()
}
