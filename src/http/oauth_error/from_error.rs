//! The OAuth response of each error. Every variant is mapped explicitly, so that internal texts do
//! not reach clients.

use actix_web::http::StatusCode;

use crate::{
    domain::exchange::{
        refusal::{ScopeError, TargetError},
        usage::RateLimitWindow,
    },
    http::{
        extract::body::BodyError,
        oauth_error::{OAuthError, RejectedKeyError},
    },
    service::{Error, credentials::error::AuthError, introspection::revoke::RevocationError},
};

impl OAuthError {
    pub fn from_revocation_error(error: RevocationError) -> Self {
        match error {
            RevocationError::Unsupported => Self::new(
                StatusCode::BAD_REQUEST,
                "unsupported_token_type",
                "API keys and access tokens can be revoked; a portal session ends by itself",
            ),
            RevocationError::Auth(error) => Self::from_denied(error, RejectedKeyError::Client),
        }
    }

    pub fn from_service_error(error: &Error) -> Self {
        match error {
            // RFC 6749 §5.2 has no error for a conflict. Quotes are not in the character set of a
            // description.
            Error::Conflict(conflict) => Self::invalid_request(conflict.to_string().replace('"', "'")),
            Error::Unavailable(cause) => Self::unavailable(cause),
            Error::NotFound(_)
            | Error::Forbidden(_)
            | Error::NotAllowed(_)
            | Error::Invalid(_)
            | Error::IdempotencyInFlight
            | Error::IdempotencyMismatch
            | Error::VersionMismatch(_)
            | Error::RotationTooEarly(_)
            | Error::Internal(_) => Self::server_error(error),
        }
    }

    pub fn from_denied(denied: AuthError, bad_key: RejectedKeyError) -> Self {
        match denied {
            AuthError::Credential(_) => Self::rejected_key(bad_key),
            AuthError::Scope(ScopeError::Malformed | ScopeError::ExceedsGrantable(_) | ScopeError::Empty(_)) => {
                Self::invalid_scope()
            }
            AuthError::Target(fault) => Self::invalid_target(describe_target_error(&fault)),
            AuthError::OnBehalfOf(_) => Self::invalid_request(
                "the token endpoint accepts no Keyswap-On-Behalf-Of: a token is for the owner of its key",
            ),
            AuthError::Throttled(span) => Self::too_many_requests(
                "too many keys were not accepted; wait as long as Retry-After says",
                span.as_secs_rounded_up().max(1),
                None,
            ),
            AuthError::Limited(window) => Self::too_many_requests(
                "the key has spent its exchanges of this minute; keep a token until it expires, and wait as long as Retry-After says",
                window.resets_in.as_secs_rounded_up(),
                Some(window),
            ),
            AuthError::Restored => Self::temporarily_unavailable(
                "the database was rolled back, and no credential is accepted: run `keyswap restore status` on the server",
            ),
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

    fn too_many_requests(description: &'static str, retry_after: u64, window: Option<RateLimitWindow>) -> Self {
        Self {
            retry_after: Some(retry_after),
            window,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description)
        }
    }

    fn temporarily_unavailable(description: &'static str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
        }
    }

    fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%cause, "unavailable");
        Self::temporarily_unavailable("try again in a moment")
    }

    fn server_error(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "the cause is in the log, under the id in the X-Request-Id header",
        )
    }
}

const fn describe_target_error(error: &TargetError) -> &'static str {
    match error {
        TargetError::TooMany => "too many audiences and resources",
        TargetError::ProfileMismatch => "the token profiles of these audiences differ: request one at a time",
        TargetError::Claims => {
            "the claims that the audience takes from metadata are longer than 4096 bytes: shorten the metadata"
        }
        TargetError::AuthorizationDetailsTooLarge => {
            "the authorization_details of the token, with the claims taken from metadata, are longer than 4096 bytes: shorten the access \
             records of the key"
        }
        TargetError::Malformed | TargetError::Unknown | TargetError::NotAllowed => {
            "the audience or resource does not exist, or the key may not be used for it"
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
