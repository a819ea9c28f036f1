//! Reasons why a credential is not accepted.

/// Reason why a key is not accepted. It appears only in logs and metrics: clients cannot
/// distinguish the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("malformed")]
    Malformed,
    #[error("unknown")]
    Unknown,
    #[error("wrong")]
    SecretMismatch,
    #[error("revoked")]
    Revoked,
    #[error("expired")]
    Expired,
    #[error("suspended")]
    Suspended,
    #[error("owner blocked")]
    OwnerBlocked,
    #[error("owner gone")]
    OwnerDeleted,
    #[error("client mismatch")]
    ClientIdMismatch,
}
