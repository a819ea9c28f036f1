//! OAuth errors (RFC 6749 §5.2). Descriptions are texts in the character set of that section and
//! never contain client input.

mod from_error;

use std::{borrow::Cow, fmt};

use actix_web::http::{
    StatusCode,
    header::{ALLOW, PRAGMA, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{ErrorBody, ErrorFormat, ErrorResponse};

/// An OAuth error response (RFC 6749 §5.2).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct OAuthErrorBody {
    #[schema(example = "invalid_client")]
    error: &'static str,
    #[schema(value_type = String, example = "the client is not known or its API key is not accepted")]
    error_description: Cow<'static, str>,
}

impl ErrorBody for OAuthErrorBody {
    const FORMAT: ErrorFormat = ErrorFormat::Oauth;
    const CONTENT_TYPE: &'static str = "application/json";
}

impl fmt::Display for OAuthErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.error_description)
    }
}

pub type OAuthError = ErrorResponse<OAuthErrorBody>;

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
        let body = OAuthErrorBody { error, error_description: description.into() };
        Self::with_body(status, body).with(PRAGMA, "no-cache")
    }

    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A parameter that would be ignored because of its spelling.
    pub fn misspelled_parameter(known: &str) -> Self {
        Self::invalid_request(format!(
            "a parameter resembles {known} and would be ignored: its name is exactly {known}, without brackets; \
             audience and resource may be repeated"
        ))
    }

    /// RFC 9396 §5.
    pub fn invalid_authorization_details() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_authorization_details",
            "authorization_details cannot be requested: access records decide them; omit the parameter",
        )
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
        Self::client_error("the client is not known or its API key is not accepted")
    }

    /// A request without client credentials, or with an empty secret, as from a variable that is
    /// not set.
    pub fn missing_client() -> Self {
        Self::client_error("the client id or the client secret is missing or empty: the secret is the API key")
    }

    fn client_error(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
            .with(WWW_AUTHENTICATE, r#"Basic realm="keyswap", charset="UTF-8""#)
    }

    /// A bearer credential without a value.
    pub fn empty_bearer() -> Self {
        let description = "the Authorization header is empty: Bearer must be followed by the API key or token";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", description)
            .with(WWW_AUTHENTICATE, r#"Bearer realm="keyswap", error="invalid_token""#)
    }

    /// The only error for a bearer credential that is not accepted, whatever the reason
    /// (RFC 6750 §3.1).
    fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "the API key or token is not accepted")
            .with(WWW_AUTHENTICATE, r#"Bearer realm="keyswap", error="invalid_token""#)
    }

    /// The caller is authenticated but holds none of these permissions, any one of which is
    /// sufficient.
    pub fn insufficient_scope(permissions: &[&str]) -> Self {
        let scope = permissions.join(" ");
        let description = "the WWW-Authenticate header names the permission that is needed";
        Self::new(StatusCode::FORBIDDEN, "insufficient_scope", description)
            .with(WWW_AUTHENTICATE, format!(r#"Bearer realm="keyswap", error="insufficient_scope", scope="{scope}""#))
    }

    pub fn media_type() -> Self {
        let description = "send the parameters as application/x-www-form-urlencoded";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", description)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request", "there is no such endpoint")
    }

    pub fn precondition_failed() -> Self {
        let description = "If-Match does not name the current representation";
        Self::new(StatusCode::PRECONDITION_FAILED, "invalid_request", description)
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        let description = "the Allow header names the methods of this path";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", description).with(ALLOW, allow)
    }
}
