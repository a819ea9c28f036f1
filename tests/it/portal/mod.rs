//! Key management in a browser: portal sessions, hosted pages and the console.

pub mod console;
pub mod hosted_pages;
pub mod key_management;
mod session_limit;
mod sessions;

use reqwest::{Response, StatusCode};

/// Asserts success and returns the cookie in the form that the browser sends.
fn cookie_of(answer: &Response) -> String {
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(set.split("; ").any(|part| part == attribute), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}
