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
    /// The key that opened the portal session is not in force, or may no longer open sessions.
    #[error("opener not authorized")]
    OpenerNotAuthorized,
    /// The signature of the token is valid, but its signing key was not in use when it was issued.
    #[error("signing key not in use")]
    SigningKeyNotInUse,
    /// The signature of the token is valid, but its claims are not those of its key.
    #[error("claim mismatch")]
    ClaimMismatch,
    /// Its row, or that of its key, was altered outside of Keyswap.
    #[error("altered")]
    Altered,
}
