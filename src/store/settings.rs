//! Settings of the connection to the database, and its clock.

use crate::domain::common::{
    address::is_loopback_url,
    text::impl_serde_as_text,
    time::{Span, Timestamp},
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};
use std::{
    ffi::OsString, fmt, os::unix::ffi::OsStringExt as _, panic::RefUnwindSafe, str::FromStr, sync::OnceLock,
    time::Duration,
};
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
    /// How long a PostgreSQL server is trusted after the last heartbeat that it acknowledged.
    #[serde(deserialize_with = "deserialize_duration")]
    pub lease: Duration,
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

impl DatabaseUrl {
    /// Returns whether a connection to another machine may be unencrypted. By default, libpq falls
    /// back to an unencrypted connection (`sslmode=prefer`).
    pub fn may_be_unencrypted(&self) -> bool {
        let Some(PostgresUrl { address, query, .. }) = self.parse_postgres() else { return false };
        let parameter = |name| find_parameter(query, name);
        let hosts = parameter("host").unwrap_or_else(|| address.split('/').next().unwrap_or_default());
        let is_remote = |host: &str| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| if host.ends_with(']') { host } else { name });
            let is_escaped_path = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f"));
            let is_socket = name.is_empty() || name.starts_with('/') || is_escaped_path;
            !is_socket && !is_loopback_url(&format!("http://{name}"))
        };
        let is_encrypted =
            parameter("sslmode").is_some_and(|mode| ["require", "verify-ca", "verify-full"].contains(&mode));
        !is_encrypted && hosts.split(',').any(is_remote)
    }

    /// Returns whether the URL contains a password.
    pub fn has_password(&self) -> bool {
        self.parse_postgres().is_some_and(|PostgresUrl { login, address, query }| {
            // libpq does not accept an unescaped slash in a password, but people write it.
            let rejected_login = address.rsplit_once('@').map_or("", |(login, _)| login);
            login.contains(':') || rejected_login.contains(':') || find_parameter(query, "password").is_some()
        })
    }

    /// Splits the password off a PostgreSQL URL. Returns `None` for a URL with the password of a
    /// client key (`sslpassword`).
    pub(crate) fn split_password(&self) -> Option<UrlWithoutPassword> {
        let (Self::Postgres(url), Some(parts)) = (self, self.parse_postgres()) else { return None };
        let PostgresUrl { login, address, query } = parts;
        let (user, mut password) = login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match decode(name).as_encoded_bytes() {
                b"password" => password = Some(value),
                b"sslpassword" => return None,
                _ => others.push(pair),
            }
        }
        let scheme = url.split_once("://").map_or("postgres", |(scheme, _)| scheme);
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Some(UrlWithoutPassword { url: format!("{scheme}://{user}{address}{query}"), password: password.map(decode) })
    }

    /// Returns the configured `target_session_attrs`, by which libpq chooses among the hosts.
    pub fn target_session_attrs(&self) -> Option<&str> {
        find_parameter(self.parse_postgres()?.query, "target_session_attrs")
    }

    /// Returns the configured timeout of a connection attempt, by the rules of libpq.
    pub fn connect_timeout(&self) -> Option<Duration> {
        let seconds: u64 = find_parameter(self.parse_postgres()?.query, "connect_timeout")?.parse().ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds.max(2)))
    }

    /// Returns whether parameters list several hosts, which `split_hosts` does not split.
    pub fn has_hosts_in_parameters(&self) -> bool {
        let Some(PostgresUrl { query, .. }) = self.parse_postgres() else { return false };
        let is_list =
            |name| find_parameter(query, name).is_some_and(|value| decode(value).as_encoded_bytes().contains(&b','));
        ["host", "hostaddr", "port"].into_iter().any(is_list)
    }

    /// Returns a URL for each host, or the URL itself if its authority does not list several.
    pub fn split_hosts(&self) -> Vec<Self> {
        let Some(PostgresUrl { login, address, query }) = self.parse_postgres() else { return vec![self.clone()] };
        let has_parameter = ["host", "hostaddr", "port"].iter().any(|name| find_parameter(query, name).is_some());
        let (hosts, path) = address.find('/').map_or((address, ""), |slash| address.split_at(slash));
        if has_parameter || !hosts.contains(',') {
            return vec![self.clone()];
        }
        let login = if login.is_empty() { String::new() } else { format!("{login}@") };
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        hosts.split(',').map(|host| Self::Postgres(format!("postgres://{login}{host}{path}{query}"))).collect()
    }

    fn parse_postgres(&self) -> Option<PostgresUrl<'_>> {
        let Self::Postgres(url) = self else { return None };
        let (_, rest) = url.split_once("://")?;
        // As in libpq, the login ends at the first `@` before any slash, and may contain `?`.
        let (login, rest) = rest.split_once('@').filter(|(login, _)| !login.contains('/')).unwrap_or(("", rest));
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some(PostgresUrl { login, address, query })
    }
}

/// A PostgreSQL URL without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UrlWithoutPassword {
    pub(crate) url: String,
    /// The decoded password.
    pub(crate) password: Option<OsString>,
}

fn decode(text: &str) -> OsString {
    OsString::from_vec(percent_decode_str(text).collect())
}

/// The parts of a PostgreSQL URL: `postgres://login@address?query`.
struct PostgresUrl<'a> {
    login: &'a str,
    address: &'a str,
    query: &'a str,
}

/// Returns the value of a parameter. The last one takes precedence, as in libpq.
fn find_parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').rev().filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_split_off_wherever_it_is() {
        for (url, without, password) in [
            (
                "postgres://u:p%2Fw@a:1,b:2/k?sslmode=verify-full",
                "postgres://u@a:1,b:2/k?sslmode=verify-full",
                Some("p/w"),
            ),
            ("postgresql://u:p?w@db/k", "postgresql://u@db/k", Some("p?w")),
            (
                "postgres://u:one@db/k?password=two&application_name=x",
                "postgres://u@db/k?application_name=x",
                Some("two"),
            ),
            ("postgres:///k?p%61ssword=p&host=/run", "postgres:///k?host=/run", Some("p")),
            ("postgres://:p@db/k", "postgres://db/k", Some("p")),
            ("postgres://u@db/k", "postgres://u@db/k", None),
            ("postgres://db/k?user=a@b", "postgres://db/k?user=a@b", None),
        ] {
            let found = url.parse::<DatabaseUrl>().unwrap().split_password().unwrap();
            assert_eq!((found.url.as_str(), found.password), (without, password.map(OsString::from)), "{url}");
        }
        assert!("postgres://u@db/k?sslpassword=p".parse::<DatabaseUrl>().unwrap().split_password().is_none());
    }

    #[test]
    fn password_is_found_wherever_it_is() {
        for (url, expected) in [
            ("postgres://u:p@db/k", true),
            ("postgres://u:p?w@db/k", true),
            ("postgres://u:p/w@db/k", true),
            ("postgres:///k?password=p", true),
            ("postgres://u@db:5432/k", false),
            ("postgres://db:5432/k?user=a@b", false),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().has_password(), expected, "{url}");
        }
    }

    #[test]
    fn hosts_in_parameters_are_found() {
        for (url, expected) in [
            ("postgres:///k?host=a,b", true),
            ("postgres:///k?host=%2Frun%2Fa%2C%2Frun%2Fb", true),
            ("postgres://a,b/k?port=1,2", true),
            ("postgres://a/k?hostaddr=10.0.0.1,10.0.0.2", true),
            ("postgres://a,b/k?host=c", false),
            ("postgres://a,b/k?application_name=a,b", false),
            ("postgres:///k?host=/run", false),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().has_hosts_in_parameters(), expected, "{url}");
        }
    }

    #[test]
    fn hosts_of_the_authority_are_split() {
        for (url, expected) in [
            ("postgres://u:p@a:1,b/k?x=1", &["postgres://u:p@a:1/k?x=1", "postgres://u:p@b/k?x=1"][..]),
            ("postgresql://a,b", &["postgres://a", "postgres://b"]),
            ("postgres://u@[::1]:1,[::2]/k", &["postgres://u@[::1]:1/k", "postgres://u@[::2]/k"]),
            ("postgres://u@a/k,l", &["postgres://u@a/k,l"]),
            ("postgres:///k?host=a,b", &["postgres:///k?host=a,b"]),
            ("postgres://a,b/k?port=1,2", &["postgres://a,b/k?port=1,2"]),
        ] {
            let split = url.parse::<DatabaseUrl>().unwrap().split_hosts();
            let expected: Vec<DatabaseUrl> = expected.iter().map(|url| url.parse().unwrap()).collect();
            assert!(split == expected, "{url}");
        }
    }
}
