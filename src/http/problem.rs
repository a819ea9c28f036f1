//! Errors of `/v1` as problem details (RFC 9457). Internal errors become client messages only here,
//! as fixed texts and field names. Messages never contain the text of a database driver or a
//! submitted value.

mod from_error;

use std::fmt;

use actix_web::{
    HttpRequest,
    http::{
        StatusCode,
        header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    web::Data,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::common::preconditions::FailedPrecondition,
    http::error::{ErrorBody, ErrorFormat, ErrorResponse, INTERNAL},
    service::{InputFault, Services},
};

/// RFC 6750 §3: a request without credentials gets a challenge without an `error` attribute.
const BEARER_CHALLENGE: &str = r#"Bearer realm="keyswap""#;

/// Problem details of an error (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:keyswap:problem:` followed by the code.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:keyswap:problem:[a-z_]+$", example = "urn:keyswap:problem:not_found")]
    kind: String,
    title: &'static str,
    status: u16,
    /// Stable error code for programs.
    #[schema(pattern = "^[a-z_]+$", example = "not_found")]
    code: &'static str,
    /// Human-readable explanation.
    detail: String,
    /// All faults found in the fields of the request. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputFault>,
}

impl ErrorBody for ProblemBody {
    const FORMAT: ErrorFormat = ErrorFormat::Problems;
    const CONTENT_TYPE: &'static str = "application/problem+json";
}

impl fmt::Display for ProblemBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

pub type Problem = ErrorResponse<ProblemBody>;

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("urn:keyswap:problem:{code}");
        let body =
            ProblemBody { kind, title, status: status.as_u16(), code, detail: detail.into(), errors: Vec::new() };
        Self::with_body(status, body)
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood", detail)
    }

    pub fn invalid(faults: Vec<InputFault>) -> Self {
        let detail = "see errors: each names a field and what to do about it";
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is against the rules", detail);
        problem.body.errors = faults;
        problem
    }

    /// Query parameters that cannot be understood.
    pub fn bad_parameters(detail: String, faults: Vec<InputFault>) -> Self {
        let mut problem = Self::bad_request(detail);
        problem.body.errors = faults;
        problem
    }

    /// Returns the faults if the problem is that fields of the request are against the rules.
    pub fn invalid_fields(&self) -> Option<&[InputFault]> {
        (self.body.code == "invalid").then_some(self.body.errors.as_slice())
    }

    /// A single fault in the input.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![InputFault::new(field, message)])
    }

    pub fn unsupported_media_type(title: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", title, detail)
    }

    pub fn body_timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body took too long", detail).closing()
    }

    /// For unknown paths and objects. An object that does not exist and an object that the caller
    /// may not see get the same bytes.
    pub fn not_found() -> Self {
        let detail = "there is nothing here, or nothing that you may see";
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        let detail = format!("this path answers {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail).with(ALLOW, allow)
    }

    pub fn precondition_failed(failed: FailedPrecondition) -> Self {
        let title = "A precondition is not met";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", title, failed.to_string())
    }

    pub fn not_implemented(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", "Not here", detail)
    }

    pub fn missing_credentials() -> Self {
        let detail = "send an API key or a token as Authorization: Bearer, or an API key as X-API-Key";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication required", detail)
            .with(WWW_AUTHENTICATE, BEARER_CHALLENGE)
    }

    /// A header without a value, as from a variable that is not set.
    pub fn empty_credentials() -> Self {
        let detail = "the Authorization or X-API-Key header is empty: it must contain the API key or token";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The credential is empty", detail)
            .with(WWW_AUTHENTICATE, BEARER_CHALLENGE)
    }

    pub fn multiple_credentials() -> Self {
        Self::bad_request("send one credential, in one header")
            .with(WWW_AUTHENTICATE, format!(r#"{BEARER_CHALLENGE}, error="invalid_request""#))
    }

    /// Any one of `permissions` is sufficient.
    pub fn forbidden(permissions: &[&str]) -> Self {
        let detail = format!("the permission {} is needed", permissions.join(" or "));
        let scope = permissions.join(" ");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Permission is missing", detail)
            .with(WWW_AUTHENTICATE, format!(r#"{BEARER_CHALLENGE}, error="insufficient_scope", scope="{scope}""#))
    }

    fn invalid_token() -> Self {
        let detail = "the API key or token is not accepted";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "Not accepted", detail)
            .with(WWW_AUTHENTICATE, format!(r#"{BEARER_CHALLENGE}, error="invalid_token""#))
    }

    /// The same for every cause, because callers that are not authenticated see it.
    fn unavailable() -> Self {
        let detail = "the request failed temporarily and probably changed nothing; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available right now", detail)
            .with(RETRY_AFTER, 1)
    }

    fn unavailable_because(cause: &dyn fmt::Display) -> Self {
        tracing::warn!(%cause, "failed to serve a request for a temporary reason; answered 503");
        Self::unavailable()
    }

    /// A fault of Keyswap, whose cause is logged.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error", INTERNAL)
    }

    fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "The request conflicts with the current state", detail)
    }
}

/// Returns whether a path reports errors in the OAuth format instead of problem details. The path
/// of the issuer, if it has one, is ignored.
pub fn is_oauth_path(request: &HttpRequest) -> bool {
    let issuer_path =
        request.app_data::<Data<Services>>().map(|services| path_of(services.issuer())).unwrap_or_default();
    let path = request.path().strip_prefix(issuer_path).unwrap_or(request.path());
    let first = path.split('/').nth(1).unwrap_or_default();
    ["oauth", "identity", ".well-known"].contains(&first)
}

/// The path of a URL, or an empty string.
pub fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').map_or("", |at| &after_scheme[at..])
}
