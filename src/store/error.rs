//! Errors of the persistence layer. Driver messages are for the log and must not reach clients.

use std::{io, path::PathBuf};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// The error of a query or a change.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is unreachable, overloaded, full or read-only. A retry may succeed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A unique constraint rejected the row.
    #[error("already there: {0}")]
    Conflict(String),
    /// The database contains data that this version cannot have written.
    #[error("the database holds something impossible: {0}")]
    InvalidData(String),
    #[error("no randomness")]
    NoEntropy(#[from] crate::domain::common::entropy::EntropyUnavailable),
}

impl From<DieselError> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "Diesel's errors may grow; what is not known is an outage")]
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                Self::Conflict(info.message().to_owned())
            }
            DieselError::DatabaseError(
                DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation,
                info,
            ) => Self::InvalidData(info.message().to_owned()),
            DieselError::DeserializationError(error)
            | DieselError::SerializationError(error)
            | DieselError::QueryBuilderError(error) => Self::InvalidData(error.to_string()),
            // All other errors mean that the database is unavailable: a lost connection, a lock
            // timeout, a full disk.
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The error of opening or migrating the database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("database.url cannot be read: percent-encode what stands for itself in its user, password and name")]
    UnreadableUrl,
    #[error("there is no database at {}: start `keyswap serve` or run `keyswap migrate` to make it, or correct database.url", .0.display())]
    DatabaseNotFound(PathBuf),
    #[error("cannot make the directory {}: {}", .0.display(), .1)]
    CreateDirectory(PathBuf, io::Error),
    #[error("cannot connect: {0}")]
    Connect(diesel::ConnectionError),
    #[error("cannot set up the connection: {0}")]
    Setup(DieselError),
    #[error("SQLite {0} can corrupt its log under several connections: 3.51.3 or newer is needed")]
    UnsupportedSqliteVersion(String),
    #[error("the migrations failed: {0}")]
    Migration(String),
    #[error("the database was made by a newer version of Keyswap: {0}")]
    NewerSchema(String),
}
