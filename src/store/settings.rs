//! Settings of the connection to the database, and its clock.

use crate::domain::common::{
    text::impl_serde_as_text,
    time::{Span, Timestamp},
};
use serde::{Deserialize, Deserializer};
use std::{fmt, panic::RefUnwindSafe, str::FromStr, sync::OnceLock, time::Duration};
use tokio::time::Instant;

/// The time source for SQLite, which runs in the server process. PostgreSQL uses its own clock.
pub trait Clock: fmt::Debug + Send + Sync + RefUnwindSafe {
    fn now(&self) -> Timestamp;

    /// Returns the monotonic time since a fixed moment of this process. Setting the system clock
    /// does not affect it.
    fn monotonic_elapsed(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where a database without a clock gets ours")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_elapsed(&self) -> Duration {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        BEGIN.get_or_init(Instant::now).elapsed()
    }
}

/// Section `database`: the connections to the database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DatabaseSettings {
    pub url: DatabaseUrl,
    /// The maximum number of connections, not counting the connections of the batch loader.
    pub pool_size: u32,
    /// How long to wait for a connection.
    #[serde(deserialize_with = "deserialize_duration")]
    pub connect_timeout: Duration,
    /// How long a statement may take, and how long it may wait for a lock.
    #[serde(deserialize_with = "deserialize_duration")]
    pub statement_timeout: Duration,
}

fn deserialize_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(Span::duration)
}

/// A database URL. `Debug` and `Display` omit the user information and the query string of a
/// PostgreSQL URL, which may contain a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://path` is relative to the working directory; `sqlite:///path` is absolute.
    Sqlite(String),
    /// `postgres://` or `postgresql://`, in the syntax of libpq.
    Postgres(String),
}

/// Returned for another scheme, and for an SQLite URL without a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must begin with sqlite:// or postgres:// and name a database")]
pub struct UnsupportedUrl;

impl FromStr for DatabaseUrl {
    type Err = UnsupportedUrl;
    fn from_str(text: &str) -> Result<Self, UnsupportedUrl> {
        if let Some(path) = text.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
            Ok(Self::Sqlite(path.to_owned()))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err(UnsupportedUrl)
        }
    }
}
impl_serde_as_text!(DatabaseUrl);

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(url) => {
                let after_login = url
                    .rsplit_once('@')
                    .map_or_else(|| url.split_once("://").map_or("", |(_, rest)| rest), |(_, rest)| rest);
                write!(f, "postgres://{}", after_login.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether to create an SQLite database that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreationPolicy {
    /// Used by `serve`, `demo`, `migrate` and `master-key init`.
    Create,
    /// Used by all other commands, so that a misspelled path does not create a database.
    Fail,
}
