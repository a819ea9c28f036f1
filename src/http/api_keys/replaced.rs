//! Response headers for an exchange with a key value that was replaced: `Deprecation` (RFC 9745),
//! when it was replaced, and `Sunset` (RFC 8594), when it stops working.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use chrono::DateTime;

use crate::domain::{common::time::Timestamp, exchange::key_context::CredentialReplacement};

/// Adds both headers to a response if the presented value was replaced.
pub fn add_deprecation_headers(mut response: HttpResponse, replaced: Option<CredentialReplacement>) -> HttpResponse {
    if let Some(replaced) = replaced {
        // RFC 9651 §3.3.7: a date is written as `@` and the seconds since 1970.
        let since = Some(format!("@{}", replaced.at.seconds()));
        for (name, value) in [("deprecation", since), ("sunset", format_http_date(replaced.expires_at))] {
            if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    response
}

/// Formats an HTTP date (RFC 9110 §5.6.7).
fn format_http_date(at: Timestamp) -> Option<String> {
    let time = DateTime::from_timestamp(at.seconds(), 0)?;
    Some(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
