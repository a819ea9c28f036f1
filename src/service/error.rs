//! Why a capability did not do what was asked. `http::problem` and the command line turn these into words, each by hand.

use crate::{
    crypto::{seal::SealError, signer::SignerError, token::MintError},
    domain::{entropy::NoEntropy, id::InvalidId, time::Timestamp},
    store::StoreError,
};

/// One thing that is wrong with what was sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where: a member of the body, a parameter or a header.
    pub field: String,
    /// What, and what to do about it.
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why nothing was done. Nothing has changed when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It may be seen, and this may not be done with it.
    #[error("the permission {0} is needed")]
    Forbidden(&'static str),
    /// Well-formed, and against the rules: every fault at once.
    #[error("{}", list(.0))]
    Invalid(Vec<Fault>),
    /// What is there stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// Another request with the same `Idempotency-Key` has not ended yet.
    #[error("another request with this Idempotency-Key is still in flight")]
    InFlight,
    /// The same `Idempotency-Key` came with another request before.
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyMismatch,
    /// `If-Match` names a version that is not the newest.
    #[error("it has changed since: its version is {0} now")]
    VersionMismatch(i64),
    /// A rotation that would break verifiers.
    #[error("the next signing key may sign from {0}: some verifier may not know it before")]
    TooEarly(Timestamp),
    #[error("{0}")]
    Unavailable(String),
    /// Ours to mend: the cause is for the log.
    #[error("{0}")]
    Internal(String),
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    lines.join("; ")
}

impl Error {
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, message)])
    }

    /// What is wrong with one part of a whole, by the whole's fields.
    #[must_use]
    pub fn of_part(self, part: &str) -> Self {
        let Self::Invalid(faults) = self else { return self };
        Self::Invalid(
            faults.into_iter().map(|fault| Fault::new(format!("{part}{}", fault.field), fault.message)).collect(),
        )
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::Conflict(text) | StoreError::Corrupt(text) => Self::Internal(text),
            StoreError::NoEntropy(error) => Self::Internal(error.to_string()),
        }
    }
}

macro_rules! internal {
    ($($type:ty),*) => {
        $(impl From<$type> for Error {
            fn from(error: $type) -> Self {
                Self::Internal(error.to_string())
            }
        })*
    };
}
internal!(NoEntropy, SealError, SignerError, MintError, InvalidId, serde_json::Error);
