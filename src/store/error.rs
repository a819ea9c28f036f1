//! Errors of the persistence layer. Driver messages are for the log and must not reach clients.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::common::{encryption::EncryptionError, entropy::EntropyUnavailable};

/// The cause of an error. Its message is for the log.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// The error of a query or a change.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is unreachable, overloaded, full or read-only. A retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// A unique constraint rejected the row.
    #[error("violates a unique constraint: {0}")]
    Conflict(#[source] Cause),
    /// The database contains data that this version cannot have written.
    #[error("the database contains invalid data: {0}")]
    InvalidData(#[source] Cause),
    /// A row was altered outside of Keyswap: it does not decrypt with what it is trusted for.
    #[error("the row {id} of {table} was altered outside of Keyswap: run `keyswap integrity list` on the server")]
    Altered { table: &'static str, id: String },
    /// The last event about the row records a later version: an older row was put back.
    #[error("an older row {id} of {table} was put back: run `keyswap integrity list` on the server")]
    OlderVersion { table: &'static str, id: String },
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A change takes its locks in an order that can deadlock: a fault of Keyswap.
    #[error("a change takes the lock {requested} after {held}; locks are taken in the order of their declaration")]
    LockOrder { requested: String, held: String },
    #[error("the random number generator of the system failed")]
    NoEntropy(#[from] EntropyUnavailable),
}

impl StoreError {
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into().into())
    }

    pub fn conflict(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Conflict(cause.into().into())
    }

    pub fn invalid_data(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::InvalidData(cause.into().into())
    }
}

impl From<DieselError> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "Diesel's errors may grow; what is not known is an outage")]
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::conflict(error),
            DieselError::DatabaseError(
                DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation,
                _,
            )
            | DieselError::DeserializationError(_)
            | DieselError::SerializationError(_)
            | DieselError::QueryBuilderError(_) => Self::invalid_data(error),
            // All other errors mean that the database is unavailable: a lost connection, a lock
            // timeout, a full disk.
            other => Self::unavailable(other),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid_data(error)
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
    #[error(
        "failed to keep a session: a pooler between Keyswap and PostgreSQL gives it to other connections; set \
         pool_mode = session in PgBouncer, or set database.url to the address of PostgreSQL itself"
    )]
    SharedSession,
    #[error(transparent)]
    NoEntropy(#[from] EntropyUnavailable),
    #[error(
        "the database server is read-only: it is a standby, or default_transaction_read_only is on; set database.url to \
         the primary or list all hosts, or turn the setting off"
    )]
    ReadOnly,
    #[error("failed to connect to the database: its hosts do not respond")]
    NoResponse,
    #[error("failed to start a thread that connects to the database: {0}")]
    Thread(io::Error),
    #[error("the connection leads to another database server than the one that acknowledges heartbeats")]
    OtherServer,
    #[error("SQLite {0} can corrupt its write-ahead log; version 3.51.3 or later is required")]
    UnsupportedSqliteVersion(String),
    #[error("failed to run the migrations: {0}")]
    Migration(String),
    #[error("the database was created by a newer version of Keyswap: {0}")]
    NewerSchema(String),
}
