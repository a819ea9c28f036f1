//! The problem details of each error. Every variant is mapped explicitly, so that internal texts do
//! not reach clients.

use actix_web::http::StatusCode;

use crate::{
    domain::exchange::refusal::ScopeError,
    http::{
        error::{LIMITED, THROTTLED, describe_conflict, describe_lifetime, describe_target_error, describe_token_size},
        extract::body::BodyError,
        problem::Problem,
    },
    service::{Error, Unavailable, credentials::error::AuthError},
};

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        match error {
            BodyError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail).closing()
            }
            BodyError::TooSlow => Self::body_timeout(detail),
            BodyError::Broken => Self::bad_request(detail).closing(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::not_found(),
            Error::Forbidden(permission) => Self::forbidden(&[permission]),
            Error::NotAllowed(rule) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", rule.to_string()),
            Error::Invalid(faults) => Self::invalid(faults),
            Error::Conflict(conflict) => Self::conflict("conflict", describe_conflict(&conflict)),
            Error::LimitReached(quota) => {
                Self::new(StatusCode::CONFLICT, "limit_reached", "A limit is reached", quota.to_string())
            }
            Error::TooManyChanges(refused) => {
                Self::too_many_requests("rate_limited", "Too many changes", refused.to_string())
                    .throttled_for(refused.retry_after)
            }
            Error::IdempotencyInFlight => Self::conflict(
                "in_flight",
                "another request with this Idempotency-Key has not ended yet; try again in a moment",
            ),
            Error::IdempotencyMismatch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "The Idempotency-Key was already used",
                "this Idempotency-Key was used for a different request; use a new one",
            ),
            Error::PreconditionFailed(failed) => Self::precondition_failed(failed),
            Error::RotationTooEarly(from) => Self::conflict(
                "too_early",
                format!("the next signing key may sign from {from}: before that, some verifier may not know it"),
            ),
            // The rollback guard has logged it once.
            Error::Unavailable(Unavailable::RolledBack) => Self::unavailable(),
            Error::Unavailable(cause) => Self::unavailable_because(&cause),
            Error::Internal(cause) => Self::internal(&cause),
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
            AuthError::Scope(ScopeError::TokenTooLarge(max_size)) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                "The token would be too large",
                describe_token_size(max_size),
            ),
            AuthError::Scope(ScopeError::Malformed | ScopeError::ExceedsGrantable(_) | ScopeError::Empty(_)) => {
                Self::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_scope",
                    "The scope is not granted",
                    "ask POST /v1/exchange/explain which permission is missing, and by which rule",
                )
            }
            AuthError::Lifetime(longest) => Self::invalid_field("expires_in", describe_lifetime(longest)),
            AuthError::Target(fault) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_target",
                "The audience is not granted",
                describe_target_error(fault),
            ),
            AuthError::Throttled(throttled) => Self::too_many_requests("throttled", "Too many failures", THROTTLED)
                .throttled_for(throttled.retry_after),
            AuthError::Limited(window) => {
                Self::too_many_requests("rate_limited", "Too many exchanges", LIMITED).limited_by(&window)
            }
            AuthError::Failed(error) => error.into(),
        }
    }
}

impl Problem {
    fn too_many_requests(code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, title, detail)
    }
}
