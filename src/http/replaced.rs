//! What whoever swaps a key by a value that was replaced is told with the answer: since when (`Deprecation`, RFC 9745) and until when it
//! works (`Sunset`, RFC 8594).

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use chrono::DateTime;

use crate::domain::{grant::Replaced, time::Timestamp};

/// The answer, with both where there is something to tell.
pub fn told(mut response: HttpResponse, replaced: Option<Replaced>) -> HttpResponse {
    if let Some(replaced) = replaced {
        // RFC 9651 §3.3.7: a date is its seconds since 1970 behind an @.
        let since = Some(format!("@{}", replaced.at.seconds()));
        for (name, value) in [("deprecation", since), ("sunset", http_date(replaced.ends_at))] {
            if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    response
}

/// RFC 9110 §5.6.7.
fn http_date(at: Timestamp) -> Option<String> {
    let time = DateTime::from_timestamp(at.seconds(), 0)?;
    Some(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
