//! Why a credential is refused.

use crate::{
    crypto::encryption::EncryptionError,
    domain::{
        common::{entropy::EntropyUnavailable, time::Span},
        credentials::error::CredentialError,
        exchange::{
            refusal::{DenyReason, ScopeError, TargetError},
            usage::RateLimitWindow,
        },
    },
    service::credentials::brute_force::Throttled,
    store::StoreError,
};

/// The reason why a credential was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Any fault of the credential. Clients cannot distinguish the faults.
    #[error("the credential is not accepted")]
    Credential(CredentialError),
    #[error("the scope is not granted")]
    Scope(ScopeError),
    #[error("the target is not granted")]
    Target(TargetError),
    /// The key is valid but may not act on behalf of the named user.
    #[error("{0}")]
    OnBehalfOf(&'static str),
    #[error("too many failures")]
    Throttled(Span),
    /// The key is valid but has reached its limit for the current minute.
    #[error("too many exchanges in this minute")]
    Limited(RateLimitWindow),
    #[error("{0}")]
    Unavailable(String),
    /// The database was rolled back, so credentials that were revoked later appear to be in force.
    #[error("the database was rolled back: run `keyswap restore status` on the server")]
    Restored,
    #[error("{0}")]
    Internal(String),
}

impl From<DenyReason> for AuthError {
    fn from(reason: DenyReason) -> Self {
        match reason {
            DenyReason::Credential(fault) => Self::Credential(fault),
            DenyReason::Scope(fault) => Self::Scope(fault),
            DenyReason::Target(fault) => Self::Target(fault),
        }
    }
}

impl From<Throttled> for AuthError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled(throttled.retry_after)
    }
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause.to_string()),
            StoreError::Conflict(cause) | StoreError::InvalidData(cause) => Self::Internal(cause.to_string()),
            StoreError::LockOrder { .. } | StoreError::NoEntropy(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<EntropyUnavailable> for AuthError {
    fn from(error: EntropyUnavailable) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<EncryptionError> for AuthError {
    fn from(error: EncryptionError) -> Self {
        match error {
            // The key may be valid: another replica may have the master key that is missing here.
            EncryptionError::NoMasterKey(_) => Self::Unavailable(error.to_string()),
            EncryptionError::NoEntropy | EncryptionError::DecryptionFailed => Self::Internal(error.to_string()),
        }
    }
}
