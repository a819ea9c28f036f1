//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), for API keys with
//! a rate limit.

use crate::domain::exchange::usage::RateLimitWindow;

/// Names and values of both headers.
pub fn headers(window: &RateLimitWindow) -> [(&'static str, String); 2] {
    [
        ("ratelimit-policy", format!("\"exchanges\";q={};w=60", window.limit)),
        ("ratelimit", format!("\"exchanges\";r={};t={}", window.remaining, window.resets_in.as_secs_rounded_up())),
    ]
}
