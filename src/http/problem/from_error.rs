//! The problem details of each error. Every variant is mapped explicitly, so that internal texts do
//! not reach clients.

use actix_web::http::StatusCode;

use crate::{
    domain::exchange::{refusal::TargetError, usage::RateLimitWindow},
    http::{extract::body::BodyError, problem::Problem},
    service::{Error, credentials::error::AuthError, introspection::revoke::RevocationError},
};

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
            Error::Conflict(conflict) => Self::conflict("conflict", conflict.to_string()),
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
            Error::RotationTooEarly(from) => Self::conflict(
                "too_early",
                format!("the next signing key may sign from {from}: before that, some verifier may not know it"),
            ),
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
            RevocationError::Auth(error) => error.into(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(denied: AuthError) -> Self {
        match denied {
            AuthError::Credential(_) => Self::invalid_token(),
            AuthError::OnBehalfOf(reason) => {
                Self::new(StatusCode::FORBIDDEN, "on_behalf_of", "Not on behalf of this user", reason.to_string())
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
                describe_target_error(&fault),
            ),
            AuthError::Throttled(span) => Self::too_many_requests(
                "throttled",
                "Too many failures",
                "too many keys were not accepted; wait as long as Retry-After says",
                span.as_secs_rounded_up().max(1),
                None,
            ),
            AuthError::Limited(window) => Self::too_many_requests(
                "rate_limited",
                "Too many exchanges",
                "the key has spent its exchanges of this minute; keep a token until it expires, and wait as long as Retry-After says",
                window.resets_in.as_secs_rounded_up(),
                Some(window),
            ),
            AuthError::Restored => Self {
                detail: "the database was rolled back, and no credential is accepted: run `keyswap restore status` on the server"
                    .into(),
                ..Self::unavailable()
            },
            AuthError::Failed(error) => error.into(),
        }
    }
}

impl Problem {
    fn too_many_requests(
        code: &'static str,
        title: &'static str,
        detail: &'static str,
        retry_after: u64,
        window: Option<RateLimitWindow>,
    ) -> Self {
        Self { retry_after: Some(retry_after), window, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, title, detail) }
    }
}

const fn describe_target_error(error: &TargetError) -> &'static str {
    match error {
        TargetError::Malformed | TargetError::TooMany | TargetError::Unknown | TargetError::NotAllowed => {
            "it does not exist, or the key may not be used for it"
        }
        TargetError::ProfileMismatch => "the token profiles of these audiences differ: request one at a time",
        TargetError::Claims => {
            "the claims that it takes from metadata are longer than 4096 bytes: shorten the metadata"
        }
        TargetError::AuthorizationDetailsTooLarge => {
            "the authorization_details of the token, with the claims taken from metadata, are longer than 4096 bytes: shorten the access \
             records of the key"
        }
    }
}
