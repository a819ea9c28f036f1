//! Why a credential gets nothing.

use crate::{
    crypto::encryption::SealError,
    domain::{
        common::{entropy::NoEntropy, time::Span},
        exchange::{
            refusal::{ScopeFault, TargetFault},
            usage::Window,
        },
    },
    store::StoreError,
};

/// The reason why a credential was refused.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Any fault of the key. Clients cannot distinguish the faults.
    #[error("the API key is not accepted")]
    Key,
    #[error("the scope is not granted")]
    Scope(ScopeFault),
    #[error("the target is not granted")]
    Target(TargetFault),
    /// The key is valid but may not act on behalf of the named user.
    #[error("{0}")]
    OnBehalfOf(&'static str),
    #[error("too many failures")]
    Throttled(Span),
    /// The key is valid but has reached its limit for the current minute.
    #[error("too many exchanges in this minute")]
    Limited(Window),
    #[error("{0}")]
    Unavailable(String),
    /// The database was rolled back, so credentials that were revoked later appear to be in force.
    #[error("the database looks like an old backup: run `keyswap restore status` on the server")]
    Restored,
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::Conflict(text) | StoreError::Corrupt(text) => Self::Internal(text),
            StoreError::NoEntropy(error) => Self::Internal(error.to_string()),
        }
    }
}

impl From<NoEntropy> for Denied {
    fn from(error: NoEntropy) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<SealError> for Denied {
    fn from(error: SealError) -> Self {
        match error {
            // The key may be valid: another replica may have the master key that is missing here.
            SealError::NoMasterKey(_) => Self::Unavailable(error.to_string()),
            SealError::NoEntropy | SealError::DoesNotOpen => Self::Internal(error.to_string()),
        }
    }
}
