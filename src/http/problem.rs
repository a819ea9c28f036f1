//! Errors of `/v1` as problem details (RFC 9457). Internal errors become client messages only here,
//! as fixed texts and field names. Messages never contain the text of a database driver or a
//! submitted value.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    web::Data,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    domain::exchange::{refusal::TargetError, usage::RateLimitWindow},
    http::{exchange::rate_limit, extract::body::BodyError},
    service::{Error, InputFault, Services, credentials::error::AuthError, introspection::revoke::RevocationError},
};

/// An error response that states the cause and the remedy.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<InputFault>,
    retry_after: Option<u64>,
    window: Option<RateLimitWindow>,
    challenge: Option<String>,
    allow: Option<String>,
    close: bool,
}

/// RFC 6750 §3: a request without credentials gets a challenge without an `error` attribute.
const BEARER_CHALLENGE: &str = r#"Bearer realm="keyswap""#;

/// Problem details of an error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body<'a> {
    /// `urn:keyswap:problem:` followed by the code.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:keyswap:problem:[a-z_]+$", example = "urn:keyswap:problem:not_found")]
    kind: String,
    title: &'a str,
    status: u16,
    /// Stable error code for programs.
    #[schema(pattern = "^[a-z_]+$", example = "not_found")]
    code: &'a str,
    /// Human-readable explanation.
    detail: &'a str,
    /// All faults found in the fields of the request. Absent if there are none.
    #[serde(skip_serializing_if = "<[InputFault]>::is_empty")]
    errors: &'a [InputFault],
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            window: None,
            challenge: None,
            allow: None,
            close: false,
        }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood", detail)
    }

    pub fn invalid(faults: Vec<InputFault>) -> Self {
        let detail = "see errors: each names a field and what to do about it";
        Self {
            errors: faults,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is against the rules", detail)
        }
    }

    pub fn media_type() -> Self {
        let detail = "send JSON, with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body is not JSON", detail)
    }

    pub fn unsupported_media_type_ndjson() -> Self {
        let detail = "send a JSON object on each line, with Content-Type: application/x-ndjson";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body is not lines of JSON", detail)
    }

    pub fn body_timeout() -> Self {
        let detail = "nothing of the body arrived for 30 seconds";
        Self { close: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body took too long", detail) }
    }

    /// For unknown paths and objects. An object that does not exist and an object that the caller
    /// may not see get the same bytes.
    pub fn not_found() -> Self {
        let detail = "there is nothing here, or nothing that you may see";
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this path answers {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
        }
    }

    pub fn not_implemented(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", "Not here", detail)
    }

    pub fn missing_credentials() -> Self {
        let detail = "send an API key or a token as Authorization: Bearer, or an API key as X-API-Key";
        Self {
            challenge: Some(BEARER_CHALLENGE.to_owned()),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Credentials are needed", detail)
        }
    }

    pub fn multiple_credentials() -> Self {
        Self {
            challenge: Some(format!(r#"{BEARER_CHALLENGE}, error="invalid_request""#)),
            ..Self::bad_request("send one credential, in one header")
        }
    }

    /// Any one of `permissions` is sufficient.
    pub fn forbidden(permissions: &[&str]) -> Self {
        let detail = format!("the permission {} is needed", permissions.join(" or "));
        let scope = permissions.join(" ");
        Self {
            challenge: Some(format!(r#"{BEARER_CHALLENGE}, error="insufficient_scope", scope="{scope}""#)),
            ..Self::new(StatusCode::FORBIDDEN, "forbidden", "Permission is missing", detail)
        }
    }

    fn invalid_token() -> Self {
        let detail = "the API key or token is not accepted";
        Self {
            challenge: Some(format!(r#"{BEARER_CHALLENGE}, error="invalid_token""#)),
            ..Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "Not accepted", detail)
        }
    }

    fn unavailable() -> Self {
        let detail = "nothing was changed, as far as is known; try again in a moment";
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available right now", detail)
        }
    }

    fn internal() -> Self {
        let detail = "the cause is in the log, under the id in the X-Request-Id header";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something is wrong on our side", detail)
    }

    fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "What is there stands in the way", detail)
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = Body {
            kind: format!("urn:keyswap:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: &self.errors,
        };
        body.serialize(serializer)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, "application/problem+json")).insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        for (name, value) in self.window.iter().flat_map(rate_limit::headers) {
            response.insert_header((name, value));
        }
        if let Some(challenge) = &self.challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge.as_str()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
        if self.close {
            response.force_close();
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code, title) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "timeout", "The body took too long"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "bad_request", "The request cannot be understood"),
        };
        // The rest of the body would be read as the next request (RFC 9112 §9.3).
        Self { close: true, ..Self::new(status, code, title, error.to_string()) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::not_found(),
            Error::Forbidden(permission) => Self::forbidden(&[permission]),
            Error::NotAllowed(rule) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", rule.to_string()),
            Error::Invalid(faults) => Self::invalid(faults),
            Error::Conflict(detail) => Self::conflict("conflict", detail),
            Error::IdempotencyInFlight => Self::conflict(
                "in_flight",
                "another request with this Idempotency-Key has not ended yet; try again in a moment",
            ),
            Error::IdempotencyMismatch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "The Idempotency-Key is taken",
                "this Idempotency-Key came with another request before; use a new one",
            ),
            Error::VersionMismatch(version) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "version_mismatch",
                "It has changed since",
                format!("If-Match does not name the newest version, which is {version}: read it again"),
            ),
            Error::RotationTooEarly(from) => Self {
                detail: format!(
                    "the next signing key may sign from {from}: before that, some verifier may not know it"
                ),
                ..Self::conflict("too_early", "")
            },
            Error::Unavailable(cause) => {
                tracing::warn!(%cause, "unavailable");
                Self::unavailable()
            }
            Error::Internal(cause) => {
                tracing::error!(%cause, "internal error");
                Self::internal()
            }
        }
    }
}

impl From<RevocationError> for Problem {
    fn from(error: RevocationError) -> Self {
        match error {
            RevocationError::Unsupported => Self::bad_request("tokens of this kind cannot be revoked"),
            RevocationError::Denied(denied) => denied.into(),
            RevocationError::Failed(error) => error.into(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(denied: AuthError) -> Self {
        match denied {
            AuthError::Credential(_) => Self::invalid_token(),
            AuthError::OnBehalfOf(detail) => {
                Self::new(StatusCode::FORBIDDEN, "on_behalf_of", "Not on behalf of this user", detail)
            }
            AuthError::Scope(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                "The scope is not granted",
                "ask POST /v1/exchange/explain which permission is missing, and by which rule",
            ),
            AuthError::Target(fault) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_target",
                "The audience is not granted",
                match fault {
                    TargetError::Malformed | TargetError::TooMany | TargetError::Unknown | TargetError::NotAllowed => {
                        "it does not exist, or the key may not be used for it"
                    }
                    TargetError::ProfileMismatch => "the tokens of these audiences do not look alike: ask for one at a time",
                    TargetError::Claims => {
                        "the claims that it takes from metadata are longer than 4096 bytes: shorten the metadata"
                    }
                    TargetError::AuthorizationDetailsTooLarge => {
                        "the authorization_details of the token, with the claims taken from metadata, are longer than 4096 bytes: shorten \
                         the access records of the key"
                    }
                },
            ),
            AuthError::Throttled(span) => Self {
                retry_after: Some(span.as_secs_rounded_up().max(1)),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "throttled",
                    "Too many failures",
                    "too many keys were not accepted; wait as long as Retry-After says",
                )
            },
            AuthError::Limited(window) => Self {
                retry_after: Some(window.resets_in.as_secs_rounded_up()),
                window: Some(window),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "Too many exchanges",
                    "the key has spent its exchanges of this minute; keep a token until it expires, and wait as long as Retry-After says",
                )
            },
            AuthError::Unavailable(cause) => {
                tracing::warn!(%cause, "unavailable");
                Self::unavailable()
            }
            AuthError::Restored => Self {
                detail: "the database looks like an old backup, and nobody is accepted by it: run `keyswap restore status` on the server"
                    .into(),
                ..Self::unavailable()
            },
            AuthError::Internal(cause) => {
                tracing::error!(%cause, "internal error");
                Self::internal()
            }
        }
    }
}

/// Returns whether a path reports errors in the OAuth format instead of problem details. The path
/// of the issuer, if it has one, is ignored.
pub fn speaks_oauth(request: &HttpRequest) -> bool {
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
