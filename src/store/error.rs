//! Errors of the persistence layer. Driver messages are for the log and must not reach clients.

use std::{io, path::PathBuf};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// The error of a query or a change.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is unreachable, overloaded, full or read-only. A retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A unique constraint rejected the row.
    #[error("violates a unique constraint: {0}")]
    Conflict(String),
    /// The database contains data that this version cannot have written.
    #[error("the database contains invalid data: {0}")]
    InvalidData(String),
    #[error("the random number generator of the system failed")]
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
    #[error("failed to parse database.url: percent-encode special characters in its user, password and database name")]
    UnreadableUrl,
    #[error("there is no database at {}: start `keyswap serve` or run `keyswap migrate` to create it, or correct database.url", .0.display())]
    DatabaseNotFound(PathBuf),
    #[error("failed to create the directory {}: {}", .0.display(), .1)]
    CreateDirectory(PathBuf, io::Error),
    #[error("failed to connect to the database: {0}")]
    Connect(diesel::ConnectionError),
    #[error("failed to set up the database connection: {0}")]
    Setup(DieselError),
    #[error("SQLite {0} can corrupt its write-ahead log; version 3.51.3 or later is required")]
    UnsupportedSqliteVersion(String),
    #[error("failed to run the migrations: {0}")]
    Migration(String),
    #[error("the database was created by a newer version of Keyswap: {0}")]
    NewerSchema(String),
}
