//! What must hold for the response to every request.

use serde_json::Value;

use crate::connection::{Request, Response};

/// Media type of problem details (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// Panics if a response to a stranger breaks a rule. `secrets` must not occur in an error.
pub fn check(request: &Request, response: &Response, secrets: &[&str]) {
    // A draft defines 501 for a past status list (draft-ietf-oauth-status-list §8.4).
    let is_past_list = response.status == 501 && request.target.starts_with(b"/v1/status-lists/");
    assert!(response.status < 500 || is_past_list, "{response:?}");
    for (name, value) in &response.headers {
        let is_printable = |byte: &u8| (0x20..0x7f).contains(byte);
        assert!(name.bytes().all(|byte| is_printable(&byte)) && value.iter().all(is_printable), "{response:?}");
    }
    let media_type = response.header("content-type").split(';').next().unwrap_or_default().trim();
    let is_text = !response.body.is_empty() && response.header("content-encoding").is_empty();
    if is_text && (media_type == "application/json" || media_type.ends_with("+json")) {
        response.json();
    }
    if response.status < 400 {
        return;
    }
    for secret in secrets {
        let occurs = response.body.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!occurs, "an error contains a secret: {response:?}");
    }
    // A request that is not HTTP is refused before Keyswap sees it. A browser reads nothing of a
    // refused preflight.
    let is_refused_by_server = response.header("x-request-id").is_empty();
    if matches!(request.method, "HEAD" | "OPTIONS") || is_refused_by_server {
        return;
    }
    match media_type {
        PROBLEM => check_problem(response),
        "application/json" => check_oauth_error(response),
        _ => panic!("an error has no documented format: {response:?}"),
    }
}

fn check_problem(response: &Response) {
    let body = response.json();
    let code = body["code"].as_str().unwrap_or_default();
    assert!(!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{response:?}");
    assert_eq!(body["status"], response.status, "{response:?}");
    assert_eq!(body["type"], format!("urn:keyswap:problem:{code}"), "{response:?}");
    for name in ["title", "detail"] {
        assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{response:?}");
    }
    for fault in body["errors"].as_array().into_iter().flatten() {
        assert!(fault["field"].is_string() && fault["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

/// RFC 6749 §5.2, with its character set.
fn check_oauth_error(response: &Response) {
    let body = response.json();
    for name in ["error", "error_description"] {
        let text = body[name].as_str().unwrap_or_default();
        let is_allowed = |byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        assert!(!text.is_empty() && text.bytes().all(is_allowed), "{name}: {response:?}");
    }
}

/// The lines of the response to an import.
pub fn check_import(response: &Response) {
    for line in response.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {response:?}"));
        let status = line["error"]["status"].as_u64().unwrap_or_default();
        assert!(status < 500, "{response:?}");
    }
}
