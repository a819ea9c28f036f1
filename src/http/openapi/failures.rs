//! Error responses of operations. The statuses follow from what an operation reads, the format from
//! the error type of its handler: problem details (RFC 9457) or OAuth errors (RFC 6749 §5.2).

use serde_json::{Map, Value, json};

use crate::http::openapi::{
    answers::header,
    signature::{ErrorFormat, HandlerSignature},
};

/// The properties of an operation that determine its error statuses.
pub struct KeyContext<'a> {
    pub signature: &'a HandlerSignature,
    pub method: &'a str,
    /// Whether the path is below `/v1`.
    pub is_management: bool,
    /// Whether the operation accepts an API key or token in a header.
    pub accepts_bearer: bool,
    pub has_query: bool,
    pub has_if_match: bool,
    pub has_id: bool,
    pub has_idempotency_key: bool,
    /// Whether the hosted pages or the console call the operation, with a session or to obtain one.
    pub requires_page_header: bool,
}

/// The error responses of an operation by status, each a reference to one of `error_components`.
pub fn failures(facts: &KeyContext<'_>) -> Map<String, Value> {
    let managed = facts.signature.needs.is_some();
    let (name, statuses) = match facts.signature.failures {
        // If a permission is required, the access check can fail even though the handler cannot.
        ErrorFormat::None if !managed => return Map::new(),
        ErrorFormat::None | ErrorFormat::Problems => ("Problem", problem_statuses(facts)),
        ErrorFormat::Oauth => {
            let all = OAUTH_RESPONSES.iter().map(|(status, _)| *status);
            ("OAuthError", all.filter(|status| managed || *status != 403).collect())
        }
    };
    let named = |status| json!({ "$ref": format!("#/components/responses/{name}{status}") });
    statuses.into_iter().map(|status| (status.to_string(), named(status))).collect()
}

/// All error responses.
pub fn error_components() -> Map<String, Value> {
    let problems =
        PROBLEM_RESPONSES.iter().map(|one| build_error_response("Problem", "application/problem+json", *one));
    let oauth = OAUTH_RESPONSES.iter().map(|one| build_error_response("OAuthError", "application/json", *one));
    problems.chain(oauth).collect()
}

fn build_error_response(schema: &str, content_type: &str, (status, text): (u16, &str)) -> (String, Value) {
    let mut response = json!({
        "description": text,
        "content": { content_type: { "schema": { "$ref": format!("#/components/schemas/{schema}") } } },
    });
    let headers: &[(&str, &[u16])] = &[
        ("Retry-After", &[429, 503]),
        ("RateLimit", &[429]),
        ("RateLimit-Policy", &[429]),
        ("WWW-Authenticate", &[401, 403]),
    ];
    for (name, _) in headers.iter().filter(|(_, statuses)| statuses.contains(&status)) {
        response["headers"][*name] = header(name);
    }
    (format!("{schema}{status}"), response)
}

fn problem_statuses(facts: &KeyContext<'_>) -> Vec<u16> {
    let (managed, has_body) = (facts.signature.needs.is_some(), facts.signature.body.is_some());
    let changes = managed && facts.method != "get" && facts.method != "head";
    let all = [
        (facts.is_management || facts.accepts_bearer || facts.requires_page_header, 400),
        (facts.accepts_bearer || facts.requires_page_header, 401),
        (managed, 403),
        // The object created by an earlier request with the same key may be deleted.
        (facts.has_id || facts.has_idempotency_key, 404),
        (has_body, 408),
        (changes, 409),
        (facts.has_if_match, 412),
        (has_body, 413),
        (has_body, 415),
        (has_body || facts.has_query, 422),
        (facts.accepts_bearer || facts.requires_page_header, 429),
        (true, 500),
        (true, 503),
    ];
    all.into_iter().filter(|(can, _)| *can).map(|(_, status)| status).collect()
}

const PROBLEM_RESPONSES: [(u16, &str); 14] = [
    (400, "`bad_request`: it cannot be understood; on an exchange also `invalid_scope` and `invalid_target`."),
    (401, "`unauthorized`: no credentials; `invalid_token`: they are not accepted, whatever the reason."),
    (403, "`forbidden`: a permission is missing."),
    (404, "`not_found`: there is nothing here, or nothing that the caller may see."),
    (408, "`timeout`: the body took too long."),
    (409, "`conflict`: what is there stands in the way; also `in_flight` and `too_early`."),
    (412, "`version_mismatch`: it has changed since."),
    (413, "`too_large`: the body is too large."),
    (415, "`unsupported_media_type`: the body is not JSON."),
    (
        422,
        "`invalid`: against the rules, and `errors` names every fault; `idempotency_mismatch`: the key came with another request.",
    ),
    (
        429,
        "`throttled`: too many failures from there; on an exchange also `rate_limited`: the key has spent its exchanges of this minute.",
    ),
    (500, "`internal`: something is wrong with Keyswap."),
    (501, "`not_implemented`: what was is not kept."),
    (503, "`unavailable`: not right now."),
];

const OAUTH_RESPONSES: [(u16, &str); 9] = [
    (
        400,
        "`invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target`, `unsupported_grant_type` or `unsupported_token_type`.",
    ),
    (401, "`invalid_client`, or `invalid_token` for a bearer: the key is not accepted, whatever the reason."),
    (403, "`insufficient_scope`: a permission is missing."),
    (408, "`invalid_request`: the body took too long."),
    (413, "`invalid_request`: the body is too large."),
    (415, "`invalid_request`: the body is no form."),
    (
        429,
        "`temporarily_unavailable`: too many failures from there, or the key has spent its exchanges of this minute.",
    ),
    (500, "`server_error`: something is wrong with Keyswap."),
    (503, "`temporarily_unavailable`: not right now."),
];
