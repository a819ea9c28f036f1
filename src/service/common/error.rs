//! Errors of use cases. `http::problem` and the command line each convert them to messages of their
//! own.

use crate::{
    crypto::{encryption::SealError, signer::SignerError, token::MintError},
    domain::common::{entropy::NoEntropy, id::InvalidId, time::Timestamp},
    store::StoreError,
};

/// One fault in the input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// The location of the fault: a member of the body, a parameter or a header.
    pub field: String,
    /// What is wrong and how to correct it.
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The reason why a use case failed. The failing transaction was rolled back. The outcome is
/// unknown only if the connection was lost during the commit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The caller may see the object but lacks this permission.
    #[error("the permission {0} is needed")]
    Forbidden(&'static str),
    /// The input is well-formed but violates rules. The error lists every fault.
    #[error("{}", list(.0))]
    Invalid(Vec<Fault>),
    /// The current state does not permit the change.
    #[error("{0}")]
    Conflict(String),
    #[error("another request with this Idempotency-Key is still in flight")]
    InFlight,
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyMismatch,
    /// `If-Match` names a version other than the current one, which the error contains.
    #[error("it has changed since: its version is {0} now")]
    VersionMismatch(i64),
    /// The rotation would break verifiers. The error contains the time from which it is safe.
    #[error("the next signing key may sign from {0}: some verifier may not know it before")]
    TooEarly(Timestamp),
    #[error("{0}")]
    Unavailable(String),
    /// A fault of Keyswap itself. The cause is logged and not returned to the client.
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

    /// Prefixes the fields of an `Invalid` error with `part`, the path of a nested object.
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
