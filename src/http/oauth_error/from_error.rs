//! The OAuth response of each error. Every variant is mapped explicitly, so that internal texts do
//! not reach clients.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header::RETRY_AFTER};

use crate::{
    domain::{credentials::error::CredentialError, exchange::refusal::ScopeError},
    http::{
        error::{
            INTERNAL, LIMITED, THROTTLED, describe_conflict, describe_lifetime, describe_target_error,
            describe_token_size,
        },
        extract::body::BodyError,
        oauth_error::{OAuthError, RejectedKeyError},
    },
    service::{Error, Unavailable, credentials::error::AuthError},
};

impl OAuthError {
    pub fn from_service_error(error: &Error) -> Self {
        match error {
            // RFC 6749 §5.2 has no error for a conflict. Quotes and backslashes are not in the
            // character set of a description.
            Error::Conflict(conflict) => Self::invalid_request(describe_conflict(conflict).replace(['"', '\\'], "'")),
            Error::TooManyChanges(refused) => {
                Self::too_many_requests(refused.to_string()).throttled_for(refused.retry_after)
            }
            // The rollback guard has logged it once.
            Error::Unavailable(Unavailable::RolledBack) => Self::temporarily_unavailable(),
            Error::Unavailable(cause) => Self::unavailable(cause),
            Error::NotFound(_)
            | Error::Forbidden(_)
            | Error::NotAllowed(_)
            | Error::Invalid(_)
            | Error::LimitReached(_)
            | Error::IdempotencyInFlight
            | Error::IdempotencyMismatch
            | Error::PreconditionFailed(_)
            | Error::RotationTooEarly(_)
            | Error::Internal(_) => Self::server_error(error),
        }
    }

    pub fn from_denied(denied: AuthError, bad_key: RejectedKeyError) -> Self {
        match denied {
            // Only a holder of the key learns that the client is another one (RFC 6749 §5.2).
            AuthError::Credential(CredentialError::ClientIdMismatch) => Self::invalid_client(),
            AuthError::Credential(_) => Self::rejected_key(bad_key),
            AuthError::Lifetime(longest) => Self::invalid_request(describe_lifetime(longest)),
            AuthError::Scope(ScopeError::Malformed | ScopeError::ExceedsGrantable(_) | ScopeError::Empty(_)) => {
                Self::invalid_scope()
            }
            AuthError::Scope(ScopeError::TokenTooLarge(max_size)) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_scope", describe_token_size(max_size))
            }
            AuthError::Target(fault) => Self::invalid_target(describe_target_error(fault)),
            AuthError::OnBehalfOf(_) => Self::invalid_request(
                "the token endpoint accepts no Keyswap-On-Behalf-Of: a token is for the owner of its key",
            ),
            AuthError::Throttled(throttled) => Self::too_many_requests(THROTTLED).throttled_for(throttled.retry_after),
            AuthError::Limited(window) => Self::too_many_requests(LIMITED).limited_by(&window),
            AuthError::Failed(error) => Self::from_service_error(&error),
        }
    }

    fn rejected_key(place: RejectedKeyError) -> Self {
        match place {
            RejectedKeyError::Client => Self::invalid_client(),
            RejectedKeyError::InvalidSubjectToken => Self::invalid_request("the subject token is not accepted"),
            RejectedKeyError::Bearer => Self::invalid_token(),
            RejectedKeyError::Grant => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_grant", "the API key is not accepted")
            }
        }
    }

    fn too_many_requests(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description)
    }

    fn temporarily_unavailable() -> Self {
        let description = "try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description).with(RETRY_AFTER, 1)
    }

    fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%cause, "failed to serve a request for a temporary reason; answered 503");
        Self::temporarily_unavailable()
    }

    /// A fault of Keyswap, whose cause is logged.
    pub fn server_error(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", INTERNAL)
    }
}

impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        let (status, description) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "the body may have 16384 bytes at most"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 5 seconds"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "the body ended early or cannot be read"),
        };
        Self::new(status, "invalid_request", description).closing()
    }
}
