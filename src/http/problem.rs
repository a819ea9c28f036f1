//! Errors of `/v1` as problem details (RFC 9457). Internal errors become client messages only here,
//! as fixed texts and field names. Messages never contain the text of a database driver or a
//! submitted value.

mod from_error;

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
    domain::exchange::usage::RateLimitWindow,
    http::exchange::rate_limit,
    service::{InputFault, Services},
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
        Self::new(StatusCode::CONFLICT, code, "The request conflicts with the current state", detail)
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
