//! How operations fail. Which statuses an operation can answer follows from what it takes; what they look like from the path:
//! problems (RFC 9457) on `/v1`, errors of RFC 6749 §5.2 on OAuth's.

use serde_json::{Map, Value, json};

use super::{
    answers::header,
    signature::{Failures, Signature},
};

/// What the rules below look at.
pub struct Facts<'a> {
    pub signature: &'a Signature,
    pub method: &'a str,
    /// Below `/v1`.
    pub is_management: bool,
    /// A key or a token is shown in a header.
    pub has_key: bool,
    pub has_query: bool,
    pub has_if_match: bool,
    pub has_id: bool,
}

/// The failures of an operation, by status.
pub fn failures(facts: &Facts<'_>) -> Map<String, Value> {
    let statuses = match facts.signature.failures {
        Failures::None => Vec::new(),
        Failures::Problems => problems(facts),
        Failures::Oauth => OAUTH.to_vec(),
    };
    let (content_type, schema) = match facts.signature.failures {
        Failures::Oauth => ("application/json", "OauthError"),
        Failures::None | Failures::Problems => ("application/problem+json", "Problem"),
    };
    let response = |(status, text): (u16, &str)| {
        let mut response = json!({
            "description": text,
            "content": { content_type: { "schema": { "$ref": format!("#/components/schemas/{schema}") } } },
        });
        for (name, statuses) in [("Retry-After", [429, 503]), ("WWW-Authenticate", [401, 403])] {
            if statuses.contains(&status) {
                response["headers"] = json!({ name: header(name) });
            }
        }
        (status.to_string(), response)
    };
    statuses.into_iter().map(response).collect()
}

fn problems(facts: &Facts<'_>) -> Vec<(u16, &'static str)> {
    let (managed, has_body) = (facts.signature.needs.is_some(), facts.signature.body.is_some());
    let changes = managed && facts.method != "get" && facts.method != "head";
    let all = [
        (
            facts.is_management,
            400,
            "`bad_request`: it cannot be understood; on an exchange also `invalid_scope` and `invalid_target`.",
        ),
        (
            facts.has_key,
            401,
            "`unauthorized`: no credentials; `invalid_token`: they are not accepted, whatever the reason.",
        ),
        (managed, 403, "`forbidden`: a permission is missing."),
        (facts.has_id, 404, "`not_found`: there is nothing here, or nothing that the caller may see."),
        (has_body, 408, "`timeout`: the body took too long."),
        (changes, 409, "`conflict`: what is there stands in the way; also `in_flight` and `too_early`."),
        (facts.has_if_match, 412, "`version_mismatch`: it has changed since."),
        (has_body, 413, "`too_large`: the body is too large."),
        (has_body, 415, "`unsupported_media_type`: the body is not JSON."),
        (
            changes || has_body || facts.has_query,
            422,
            "`invalid`: against the rules, and `errors` names every fault; `idempotency_mismatch`: the key came with another request.",
        ),
        (facts.has_key, 429, "`throttled`: too many failures from there."),
        (true, 500, "`internal`: something is wrong with Keyswap."),
        (true, 503, "`unavailable`: not right now."),
    ];
    all.into_iter().filter(|(can, _, _)| *can).map(|(_, status, text)| (status, text)).collect()
}

const OAUTH: [(u16, &str); 8] = [
    (400, "`invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target` or `unsupported_grant_type`."),
    (401, "`invalid_client`: the key is not accepted, whatever the reason."),
    (408, "`invalid_request`: the body took too long."),
    (413, "`invalid_request`: the body is too large."),
    (415, "`invalid_request`: the body is no form."),
    (429, "`temporarily_unavailable`: too many failures from there."),
    (500, "`server_error`: something is wrong with Keyswap."),
    (503, "`temporarily_unavailable`: not right now."),
];
