//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), for API keys with
//! a rate limit.

use actix_web::http::header::HeaderName;

use crate::domain::exchange::usage::RateLimitWindow;

/// Names and values of both headers.
pub fn headers(window: &RateLimitWindow) -> [(HeaderName, String); 2] {
    let RateLimitWindow { limit, remaining, resets_in } = window;
    [
        (HeaderName::from_static("ratelimit-policy"), format!("\"exchanges\";q={limit};w=60")),
        (
            HeaderName::from_static("ratelimit"),
            format!("\"exchanges\";r={remaining};t={}", resets_in.as_secs_rounded_up()),
        ),
    ]
}
