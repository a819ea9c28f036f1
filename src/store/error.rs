//! What can go wrong with a database. Texts of drivers stay in here and in the log; no client ever sees one.

use std::{io, path::PathBuf};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A query or change did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is away, too busy, full or read-only. The same request may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A unique constraint refused the row: it is there already.
    #[error("already there: {0}")]
    Conflict(String),
    /// The database holds what this version could not have written.
    #[error("the database holds something impossible: {0}")]
    Corrupt(String),
    #[error("no randomness")]
    NoEntropy(#[from] crate::domain::entropy::NoEntropy),
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
            ) => Self::Corrupt(info.message().to_owned()),
            DieselError::DeserializationError(error)
            | DieselError::SerializationError(error)
            | DieselError::QueryBuilderError(error) => Self::Corrupt(error.to_string()),
            // Everything else is the database not doing its part: connections lost, locks not had in time, a full disk.
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("database.url must begin with sqlite:// or postgres://")]
    Url,
    #[error("database.url cannot be read: percent-encode what stands for itself in its user, password and name")]
    UnreadableUrl,
    #[error("there is no database at {}: start `keyswap serve` or run `keyswap migrate` to make it, or correct database.url", .0.display())]
    NoDatabase(PathBuf),
    #[error("cannot make the directory {}: {}", .0.display(), .1)]
    Directory(PathBuf, io::Error),
    #[error("cannot connect: {0}")]
    Connect(diesel::ConnectionError),
    #[error("cannot set up the connection: {0}")]
    Setup(DieselError),
    #[error("SQLite {0} can corrupt its log under several connections: 3.51.3 or newer is needed")]
    Version(String),
    #[error("the migrations failed: {0}")]
    Migration(String),
    #[error("the database was made by a newer version of Keyswap: {0}")]
    Newer(String),
}
