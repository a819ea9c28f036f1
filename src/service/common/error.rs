//! Errors of use cases. `http::problem` and the command line each convert them to messages of their
//! own.

use std::{error::Error as StdError, io, path::PathBuf};

use crate::{
    crypto::{signer::SignerError, token::TokenSigningError},
    domain::common::{
        encryption::EncryptionError, entropy::EntropyUnavailable, id::InvalidId, preconditions::FailedPrecondition,
        time::Timestamp,
    },
    service::common::{change_limiter::TooManyChanges, conflict::Conflict, quota::ExceededQuota},
    store::{ChangeError, StoreError},
};

/// An error in one part of the request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Fault)]
pub struct InputFault {
    /// The body member, parameter or header that is wrong.
    pub field: String,
    /// What is wrong, and how to correct it.
    pub message: String,
}

impl InputFault {
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
    /// A rule refuses the call, whatever permissions the caller has.
    #[error(transparent)]
    NotAllowed(#[from] Rule),
    /// The input is well-formed but violates rules. The error lists every fault.
    #[error("{}", format_faults(.0))]
    Invalid(Vec<InputFault>),
    /// The current state does not permit the change.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The owner has as many objects as it may have.
    #[error(transparent)]
    LimitReached(#[from] ExceededQuota),
    #[error(transparent)]
    TooManyChanges(#[from] TooManyChanges),
    #[error("another request with this Idempotency-Key is still in flight")]
    IdempotencyInFlight,
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyMismatch,
    #[error(transparent)]
    PreconditionFailed(#[from] FailedPrecondition),
    /// The rotation would break verifiers. The error contains the time from which it is safe.
    #[error("the next signing key may sign from {0}: some verifier may not know it before")]
    RotationTooEarly(Timestamp),
    /// A retry may succeed. The cause is logged and not returned to the client.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A fault of Keyswap itself. The cause is logged and not returned to the client.
    #[error("{0}")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

/// The reason why a use case cannot be performed at present.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error(transparent)]
    Database(StoreError),
    #[error("the database was rolled back: run `keyswap restore status` on the server")]
    RolledBack,
    /// Another replica may have the master key that is missing here.
    #[error(transparent)]
    MasterKeyMissing(EncryptionError),
    #[error("the signing keys were changed concurrently: try again")]
    SigningKeysChanged,
    #[error("the clock of the database jumped: no signing key was changed; try again")]
    ClockUnsteady,
    #[error("the snapshot of the signing keys is too old: another replica may have rotated them")]
    StaleSigningKeys,
    #[error("no signing key is usable")]
    NoSigningKey,
    #[error("the status list is being built")]
    StatusListNotBuilt,
    #[error("the status lists of this server may be out of date")]
    StatusListsStale,
}

impl Unavailable {
    /// Returns the metric label of a reason why nothing is signed.
    pub const fn signing_refusal(&self) -> Option<&'static str> {
        match self {
            Self::RolledBack => Some("restored"),
            Self::StaleSigningKeys => Some("stale"),
            Self::NoSigningKey => Some("no_key"),
            Self::Database(_)
            | Self::MasterKeyMissing(_)
            | Self::SigningKeysChanged
            | Self::ClockUnsteady
            | Self::StatusListNotBuilt
            | Self::StatusListsStale => None,
        }
    }
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {}: {source}", path.display())]
pub struct WriteFileError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Rules that no permission overrides.
#[derive(Debug, thiserror::Error)]
pub enum Rule {
    #[error("an API key cannot change its own limits; use another key with `keyswap:keys`")]
    OwnLimits,
    #[error("an API key cannot give another key wider limits than its own; use a key without them")]
    CallerLimits,
    /// Otherwise the holder of a leaked value could keep it valid indefinitely.
    #[error("an API key cannot undo the rotation that replaces its own value; use another key")]
    OwnRotation,
    #[error("an API key of a user or an organization cannot define its own access; call as the user")]
    OwnAccess,
    #[error(
        "an operator limits a service client or API key by this access record; it can be lifted with `keyswap:keys`"
    )]
    OperatorLimit,
    #[error("only a caller with `keyswap:keys` can change an API key from record-bound to not record-bound")]
    RecordBound,
}

fn format_faults(faults: &[InputFault]) -> String {
    let lines: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    lines.join("; ")
}

impl Error {
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![InputFault::new(field, message)])
    }

    /// Returns `Error::Invalid` if there are faults.
    pub fn if_any(faults: Vec<InputFault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self::Invalid(faults)) }
    }

    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Moves the faults of an `Invalid` error to `faults`, and returns `None` in this case.
    pub fn collect<T>(result: Result<T, Self>, faults: &mut Vec<InputFault>) -> Result<Option<T>, Self> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Self::Invalid(found)) => {
                faults.extend(found);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Prefixes the fields of an `Invalid` error with `part`, the path of a nested object.
    #[must_use]
    pub fn prefix_fields(self, part: &str) -> Self {
        let Self::Invalid(faults) = self else { return self };
        Self::Invalid(
            faults.into_iter().map(|fault| InputFault::new(format!("{part}{}", fault.field), fault.message)).collect(),
        )
    }
}

impl ChangeError for Error {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Unavailable(Unavailable::Database(error)) = self { Some(error) } else { None }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(Unavailable::Database(error)),
            StoreError::Altered { table, id } => Conflict::RowAltered { table, id }.into(),
            StoreError::OlderVersion { table, id } => Conflict::RowOlder { table, id }.into(),
            StoreError::Encryption(error) => error.into(),
            StoreError::Conflict(_)
            | StoreError::InvalidData(_)
            | StoreError::LockOrder { .. }
            | StoreError::NoEntropy(_) => Self::internal(error),
        }
    }
}

impl From<EncryptionError> for Error {
    fn from(error: EncryptionError) -> Self {
        match error {
            EncryptionError::NoMasterKey(_) => Unavailable::MasterKeyMissing(error).into(),
            EncryptionError::NoEntropy | EncryptionError::DecryptionFailed => Self::internal(error),
        }
    }
}

macro_rules! internal {
    ($($type:ty),*) => {
        $(impl From<$type> for Error {
            fn from(error: $type) -> Self {
                Self::internal(error)
            }
        })*
    };
}
internal!(EntropyUnavailable, SignerError, TokenSigningError, InvalidId, WriteFileError, serde_json::Error);
