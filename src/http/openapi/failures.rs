//! Error responses of operations. The statuses follow from what an operation reads, the format from
//! the error type of its handler: problem details (RFC 9457) or OAuth errors (RFC 6749 §5.2).

use serde_json::{Map, Value, json};

use crate::http::{
    error::ErrorFormat,
    openapi::{responses::header, signature::HandlerSignature},
};

/// The properties of an operation that determine its error statuses.
pub struct OperationProperties<'a> {
    pub signature: &'a HandlerSignature,
    pub method: &'a str,
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
pub fn failures(operation: &OperationProperties<'_>) -> Map<String, Value> {
    let (name, statuses) = match operation.signature.error_format {
        ErrorFormat::None => return Map::new(),
        ErrorFormat::Problems => ("Problem", problem_statuses(operation)),
        ErrorFormat::Oauth => {
            let all = OAUTH_RESPONSES.iter().map(|(status, _)| *status);
            ("OAuthError", all.filter(|status| operation.signature.needs.is_some() || *status != 403).collect())
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

fn problem_statuses(operation: &OperationProperties<'_>) -> Vec<u16> {
    let (managed, has_body) = (operation.signature.needs.is_some(), operation.signature.body.is_some());
    let changes = managed && operation.method != "get";
    let all = [
        (!operation.signature.is_public || has_body || operation.has_query, 400),
        (operation.accepts_bearer || operation.requires_page_header, 401),
        (managed, 403),
        // The object created by an earlier request with the same key may be deleted.
        (operation.has_id || operation.has_idempotency_key, 404),
        (has_body, 408),
        (changes, 409),
        (operation.has_if_match, 412),
        (has_body, 413),
        (has_body, 415),
        (has_body || operation.has_query, 422),
        (operation.accepts_bearer || operation.requires_page_header, 429),
        (true, 500),
        (true, 503),
    ];
    all.into_iter().filter(|(can, _)| *can).map(|(_, status)| status).collect()
}

const PROBLEM_RESPONSES: [(u16, &str); 14] = [
    (400, "`bad_request`: the request is malformed. On an exchange also `invalid_scope` and `invalid_target`."),
    (401, "`unauthorized`: the request has no credentials. `invalid_token`: the credentials are not accepted."),
    (403, "`forbidden`: the caller lacks the permission."),
    (404, "`not_found`: the object does not exist, or the caller may not see it."),
    (408, "`timeout`: the body did not arrive in time."),
    (
        409,
        "`conflict`: the current state does not allow the request. Also `limit_reached`, `in_flight` and `too_early`.",
    ),
    (412, "`precondition_failed`: If-Match or If-None-Match is not met. Nothing was changed."),
    (413, "`too_large`: the body is too large."),
    (415, "`unsupported_media_type`: the body is not JSON."),
    (
        422,
        "`invalid`: `errors` lists every invalid field. `idempotency_mismatch`: another request used the Idempotency-Key.",
    ),
    (
        429,
        "`throttled`: too many failed authentications from this source. `rate_limited`: on an exchange, the key has reached its limit for \
         this minute; on a change, its owner or organization has.",
    ),
    (500, "`internal`: an internal error, described in the log of the server."),
    (501, "`not_implemented`: past states are not available."),
    (503, "`unavailable`: the server cannot process the request now. Retry after a moment."),
];

const OAUTH_RESPONSES: [(u16, &str); 9] = [
    (400, "`invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target` or `unsupported_grant_type`."),
    (401, "`invalid_client`, or `invalid_token` for a bearer credential: the credentials are not accepted."),
    (403, "`insufficient_scope`: the caller lacks the permission."),
    (408, "`invalid_request`: the body did not arrive in time."),
    (413, "`invalid_request`: the body is too large."),
    (415, "`invalid_request`: the body is not a form."),
    (
        429,
        "`temporarily_unavailable`: too many failed authentications from this source, or the key has reached its limit for this minute.",
    ),
    (500, "`server_error`: an internal error, described in the log of the server."),
    (503, "`temporarily_unavailable`: the server cannot process the request now. Retry after a moment."),
];
