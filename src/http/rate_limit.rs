//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), on answers to keys that have a limit.

use crate::domain::usage::Window;

/// Names and values of both.
pub fn headers(window: &Window) -> [(&'static str, String); 2] {
    [
        ("ratelimit-policy", format!("\"exchanges\";q={};w=60", window.limit)),
        ("ratelimit", format!("\"exchanges\";r={};t={}", window.left, window.reset.as_secs_rounded_up())),
    ]
}
