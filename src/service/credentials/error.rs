//! Why a credential is refused.

use crate::{
    domain::{
        common::time::Span,
        credentials::error::CredentialError,
        exchange::{
            refusal::{DenyReason, ScopeError, TargetError},
            usage::RateLimitWindow,
        },
    },
    service::{Error, credentials::brute_force::Throttled},
    store::{ChangeError, StoreError},
};

/// The reason why a credential was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Any fault of the credential. Clients cannot distinguish the faults.
    #[error("the credential is not accepted")]
    Credential(#[from] CredentialError),
    #[error("the scope is not granted")]
    Scope(ScopeError),
    #[error("the target is not granted")]
    Target(TargetError),
    /// The requested lifetime exceeds this one.
    #[error("the lifetime is not granted")]
    Lifetime(Span),
    /// The key is valid but may not act on behalf of the named user.
    #[error(transparent)]
    OnBehalfOf(#[from] OnBehalfOfError),
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The key is valid but has reached its limit for the current minute.
    #[error("too many exchanges in this minute")]
    Limited(RateLimitWindow),
    /// The verification, or the operation that followed it, failed.
    #[error(transparent)]
    Failed(Error),
}

/// The reason why a caller may not act on behalf of a user.
#[derive(Debug, thiserror::Error)]
pub enum OnBehalfOfError {
    #[error("a portal session acts for its own user only")]
    PortalSession,
    #[error("only callers with keyswap:keys may call on behalf of a user")]
    NotPermitted,
    #[error("the user does not exist there, or is blocked or locked")]
    UserNotActive,
}

impl From<DenyReason> for AuthError {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::Credential(fault) => Self::Credential(fault),
            DenyReason::Scope(fault) => Self::Scope(fault),
            DenyReason::Target(fault) => Self::Target(fault),
            DenyReason::Lifetime(longest) => Self::Lifetime(longest),
        }
    }
}

impl<E: Into<Error>> From<E> for AuthError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl ChangeError for AuthError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Failed(error) = self { error.store_error() } else { None }
    }
}
