//! OAuth errors (RFC 6749 §5.2). Descriptions are fixed texts in the character set of that section
//! and never contain client input.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::exchange::{
        refusal::{ScopeError, TargetError},
        usage::RateLimitWindow,
    },
    http::{exchange::rate_limit, extract::body::BodyError},
    service::{Error, credentials::error::AuthError, introspection::revoke::RevocationError},
};

/// An error response of the OAuth endpoints.
#[derive(Debug, Clone, Copy)]
pub struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    retry_after: Option<u64>,
    window: Option<RateLimitWindow>,
    challenge: Option<Challenge>,
    allow: Option<&'static str>,
    close: bool,
}

/// An OAuth error response (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct Body {
    #[schema(example = "invalid_client")]
    error: &'static str,
    #[schema(example = "the client is not known or its API key is not accepted")]
    error_description: &'static str,
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
    const fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self { status, error, description, retry_after: None, window: None, challenge: None, allow: None, close: false }
    }

    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub const fn unsupported_grant_type() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "the grant types are client_credentials, urn:ietf:params:oauth:grant-type:token-exchange and urn:ibm:params:oauth:grant-type:apikey",
        )
    }

    pub const fn invalid_scope() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            "the scope is malformed or more than can be granted; ask POST /v1/exchange/explain which rule removed what",
        )
    }

    pub const fn invalid_target(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", description)
    }

    /// The status is 401 for credentials in the header and for credentials in the body (6749-09).
    pub const fn invalid_client() -> Self {
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
    const fn invalid_token() -> Self {
        Self {
            challenge: Some(Challenge::Bearer),
            ..Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "the API key or token is not accepted")
        }
    }

    /// The caller is authenticated but lacks the permission.
    pub const fn insufficient_scope(permissions: &'static [&'static str]) -> Self {
        Self {
            challenge: Some(Challenge::Permission(permissions)),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the WWW-Authenticate header names the permission that is needed",
            )
        }
    }

    /// Maps every error explicitly, so that internal error texts do not reach clients.
    pub fn from_revocation_error(why: RevocationError) -> Self {
        match why {
            RevocationError::Unsupported => Self::new(
                StatusCode::BAD_REQUEST,
                "unsupported_token_type",
                "API keys and access tokens can be revoked; a portal session ends by itself",
            ),
            RevocationError::Denied(denied) => Self::from_denied(denied, RejectedKeyError::Client),
            RevocationError::Failed(Error::Unavailable(cause)) => {
                Self::from_denied(AuthError::Unavailable(cause), RejectedKeyError::Client)
            }
            RevocationError::Failed(Error::Conflict(_)) => Self::invalid_request(
                "this would leave no administrator: make another key with keyswap:admin first, or use the command line on the server",
            ),
            RevocationError::Failed(
                error @ (Error::NotFound(_)
                | Error::Forbidden(_)
                | Error::NotAllowed(_)
                | Error::Invalid(_)
                | Error::IdempotencyInFlight
                | Error::IdempotencyMismatch
                | Error::VersionMismatch(_)
                | Error::RotationTooEarly(_)
                | Error::Internal(_)),
            ) => Self::from_denied(AuthError::Internal(error.to_string()), RejectedKeyError::Client),
        }
    }

    pub const fn media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request",
            "send the parameters as application/x-www-form-urlencoded",
        )
    }

    pub const fn not_found() -> Self {
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

    pub fn from_denied(denied: AuthError, bad_key: RejectedKeyError) -> Self {
        match denied {
            AuthError::Credential(_) => match bad_key {
                RejectedKeyError::Client => Self::invalid_client(),
                RejectedKeyError::InvalidSubjectToken => Self::invalid_request("the subject token is not accepted"),
                RejectedKeyError::Bearer => Self::invalid_token(),
                RejectedKeyError::Grant => {
                    Self::new(StatusCode::BAD_REQUEST, "invalid_grant", "the API key is not accepted")
                }
            },
            AuthError::Scope(ScopeError::Malformed | ScopeError::ExceedsGrantable(_) | ScopeError::Empty(_)) => {
                Self::invalid_scope()
            }
            AuthError::Target(TargetError::TooMany) => Self::invalid_target("too many audiences and resources"),
            AuthError::Target(TargetError::ProfileMismatch) => {
                Self::invalid_target("the tokens of these audiences do not look alike: ask for one at a time")
            }
            AuthError::Target(TargetError::Claims) => Self::invalid_target(
                "the claims that the audience takes from metadata are longer than 4096 bytes: shorten the metadata",
            ),
            AuthError::Target(TargetError::AuthorizationDetailsTooLarge) => Self::invalid_target(
                "the authorization_details of the token, with the claims taken from metadata, are longer than 4096 bytes: shorten the access \
                 records of the key",
            ),
            AuthError::Target(TargetError::Malformed | TargetError::Unknown | TargetError::NotAllowed) => {
                Self::invalid_target("the audience or resource does not exist, or the key may not be used for it")
            }
            AuthError::OnBehalfOf(_) => Self::invalid_request(
                "the token endpoint accepts no Keyswap-On-Behalf-Of: a token is for the owner of its key",
            ),
            AuthError::Throttled(span) => Self {
                retry_after: Some(span.as_secs_rounded_up().max(1)),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "temporarily_unavailable",
                    "too many keys were not accepted; wait as long as Retry-After says",
                )
            },
            AuthError::Limited(window) => Self {
                retry_after: Some(window.resets_in.as_secs_rounded_up()),
                window: Some(window),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "temporarily_unavailable",
                    "the key has spent its exchanges of this minute; keep a token until it expires, and wait as long as Retry-After says",
                )
            },
            AuthError::Unavailable(cause) => {
                tracing::warn!(%cause, "unavailable");
                Self {
                    retry_after: Some(1),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again in a moment")
                }
            }
            AuthError::Restored => Self {
                retry_after: Some(1),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "temporarily_unavailable",
                    "the database looks like an old backup, and nobody is accepted by it: run `keyswap restore status` on the server",
                )
            },
            AuthError::Internal(cause) => {
                tracing::error!(%cause, "internal error");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "server_error",
                    "the cause is in the log, under the id in the X-Request-Id header",
                )
            }
        }
    }
}

impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        let error = match error {
            BodyError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body may have 16384 bytes at most")
            }
            BodyError::TooSlow => {
                Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", "the body did not arrive within 5 seconds")
            }
            BodyError::Broken => Self::invalid_request("the body ended early or cannot be read"),
        };
        Self { close: true, ..error }
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
        response.json(Body { error: self.error, error_description: self.description })
    }
}
