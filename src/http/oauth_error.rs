//! OAuth errors (RFC 6749 §5.2). Descriptions are texts in the character set of that section and
//! never contain client input.

mod from_error;

use std::borrow::Cow;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{domain::exchange::usage::RateLimitWindow, http::exchange::rate_limit};

/// An error response of the OAuth endpoints.
#[derive(Debug, Clone)]
pub struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    retry_after: Option<u64>,
    window: Option<RateLimitWindow>,
    challenge: Option<Challenge>,
    allow: Option<&'static str>,
    close: bool,
}

/// An OAuth error response (RFC 6749 §5.2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct Body<'a> {
    #[schema(example = "invalid_client")]
    error: &'static str,
    #[schema(example = "the client is not known or its API key is not accepted")]
    error_description: &'a str,
}

/// The challenge in `WWW-Authenticate`.
#[derive(Debug, Clone, Copy)]
enum Challenge {
    Basic,
    /// A bearer credential was presented and not accepted (RFC 6750 §3.1).
    Bearer,
    /// The caller holds none of these permissions, any one of which is sufficient.
    Permission(&'static [&'static str]),
}

/// The error for an API key that is not accepted. It depends on where the key was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedKeyError {
    /// `invalid_client`: client authentication failed (RFC 6749 §5.2).
    Client,
    /// `invalid_request`: the subject token is invalid for any reason (RFC 8693 §2.2.2).
    InvalidSubjectToken,
    /// `invalid_grant`, which IBM clients expect.
    Grant,
    /// `invalid_token` of RFC 6750, as RFC 7662 §2.3 requires.
    Bearer,
}

impl OAuthError {
    fn new(status: StatusCode, error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        let description = description.into();
        Self { status, error, description, retry_after: None, window: None, challenge: None, allow: None, close: false }
    }

    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub fn unsupported_grant_type() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "the grant types are client_credentials, urn:ietf:params:oauth:grant-type:token-exchange and urn:ibm:params:oauth:grant-type:apikey",
        )
    }

    pub fn invalid_scope() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            "the scope is malformed or more than can be granted; ask POST /v1/exchange/explain which rule removed what",
        )
    }

    pub fn invalid_target(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", description)
    }

    /// The status is 401 for credentials in the header and for credentials in the body (6749-09).
    pub fn invalid_client() -> Self {
        Self {
            challenge: Some(Challenge::Basic),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "the client is not known or its API key is not accepted",
            )
        }
    }

    /// The only error for a bearer credential that is not accepted, whatever the reason
    /// (RFC 6750 §3.1).
    fn invalid_token() -> Self {
        Self {
            challenge: Some(Challenge::Bearer),
            ..Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "the API key or token is not accepted")
        }
    }

    /// The caller is authenticated but lacks the permission.
    pub fn insufficient_scope(permissions: &'static [&'static str]) -> Self {
        Self {
            challenge: Some(Challenge::Permission(permissions)),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the WWW-Authenticate header names the permission that is needed",
            )
        }
    }

    pub fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request",
            "send the parameters as application/x-www-form-urlencoded",
        )
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request", "there is no such endpoint")
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        Self {
            // An OAuth path accepts either POST, or GET and HEAD.
            allow: Some(if allow.starts_with("POST") { "POST" } else { "GET, HEAD" }),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "the Allow header names the methods of this path",
            )
        }
    }
}

impl std::fmt::Display for OAuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.description)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        for (name, value) in self.window.iter().flat_map(rate_limit::headers) {
            response.insert_header((name, value));
        }
        match self.challenge {
            None => {}
            Some(Challenge::Basic) => {
                response.insert_header((WWW_AUTHENTICATE, r#"Basic realm="keyswap", charset="UTF-8""#));
            }
            Some(Challenge::Bearer) => {
                response.insert_header((WWW_AUTHENTICATE, r#"Bearer realm="keyswap", error="invalid_token""#));
            }
            Some(Challenge::Permission(permissions)) => {
                let scope = permissions.join(" ");
                let challenge = format!(r#"Bearer realm="keyswap", error="insufficient_scope", scope="{scope}""#);
                response.insert_header((WWW_AUTHENTICATE, challenge));
            }
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        if self.close {
            response.force_close();
        }
        response.json(Body { error: self.error, error_description: &self.description })
    }
}
