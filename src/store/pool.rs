//! Connections to PostgreSQL and SQLite, selected by the scheme of the URL, and the connection
//! pool.

use std::{fmt, fs, path::Path, sync::Arc, time::Duration};

use diesel::{
    Connection as _, PgConnection, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    declare_sql_function,
    dsl::sql,
    r2d2::{ManageConnection, Pool as R2d2Pool, PooledConnection, R2D2Connection},
    sql_types::{Integer, Text},
};

use tokio::time::Instant;

use crate::store::{
    error::{OpenError, StoreError},
    settings::{Clock, CreationPolicy, DatabaseSettings, DatabaseUrl},
};

#[derive(diesel::MultiConnection)]
pub enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Conn(SQLite)",
            Self::Postgres(_) => "Conn(PostgreSQL)",
        })
    }
}

#[declare_sql_function]
extern "SQL" {
    /// Returns the time of the database in milliseconds since 1970-01-01 UTC. On PostgreSQL the
    /// baseline migration creates this function. SQLite runs in the server process, so the function
    /// is registered on each connection.
    fn keyswap_now() -> diesel::sql_types::BigInt;
}

/// Creates the connections of the pool.
pub struct ConnectionManager {
    settings: DatabaseSettings,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manager({})", self.settings.url)
    }
}

/// The minimum version of SQLite. In earlier versions two connections that write can corrupt the
/// write-ahead log.
const MIN_SQLITE_VERSION: (u32, u32, u32) = (3, 51, 3);

impl ConnectionManager {
    pub fn new(settings: DatabaseSettings, clock: Arc<dyn Clock>) -> Self {
        Self { settings, clock }
    }

    fn connect_sqlite(&self, path: &str) -> Result<Conn, OpenError> {
        let mut connection = SqliteConnection::establish(path).map_err(OpenError::Connect)?;
        // `synchronous` is FULL, because with NORMAL a power failure can roll back acknowledged
        // commits (invariant 3).
        let pragmas = format!(
            "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA case_sensitive_like = ON;",
            self.settings.statement_timeout.as_millis()
        );
        connection.batch_execute(&pragmas).map_err(OpenError::Setup)?;
        self.switch_to_wal(&mut connection)?;
        let clock = Arc::clone(&self.clock);
        keyswap_now_utils::register_nondeterministic_impl(&connection, move || clock.now().millis())
            .map_err(OpenError::Setup)?;
        Ok(Conn::Sqlite(connection))
    }

    /// Switches a new database file to WAL mode. The switch needs an exclusive lock, and SQLite
    /// does not apply the busy timeout to it. Without the retry, one of two processes that start
    /// together would fail.
    fn switch_to_wal(&self, connection: &mut SqliteConnection) -> Result<(), OpenError> {
        let deadline = Instant::now() + self.settings.statement_timeout;
        loop {
            match connection.batch_execute("PRAGMA journal_mode = WAL") {
                Err(error) if error.to_string().contains("locked") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                done => return done.map_err(OpenError::Setup),
            }
        }
    }

    fn connect_postgres(&self, url: &str) -> Result<Conn, OpenError> {
        let connect = self.settings.connect_timeout.as_secs().max(2);
        let statement = self.settings.statement_timeout.as_millis();
        let mut url = url.to_owned();
        // Parameters in the configured URL take precedence. By default libpq sets no timeouts.
        for (name, value) in [
            ("connect_timeout", connect.to_string()),
            ("tcp_user_timeout", statement.to_string()),
            ("keepalives_idle", "10".to_owned()),
            ("keepalives_interval", "3".to_owned()),
            ("keepalives_count", "3".to_owned()),
            ("application_name", "keyswap".to_owned()),
        ] {
            if !url.contains(&format!("{name}=")) {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{name}={value}"));
            }
        }
        let mut connection = PgConnection::establish(&url).map_err(redact_connection_error)?;
        connection
            .batch_execute(&format!(
                "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
                 SET idle_in_transaction_session_timeout = {statement};"
            ))
            .map_err(OpenError::Setup)?;
        Ok(Conn::Postgres(connection))
    }
}

/// Replaces an error for a URL that libpq cannot parse, because its message quotes the URL with the
/// password.
fn redact_connection_error(error: diesel::ConnectionError) -> OpenError {
    let said_by_server = |text: &str| {
        text.contains("connection to server")
            || text.contains("could not translate host name")
            || text.contains("timeout expired")
    };
    let quotes_url = matches!(&error, diesel::ConnectionError::BadConnection(text) if !said_by_server(text));
    if quotes_url { OpenError::UnreadableUrl } else { OpenError::Connect(error) }
}

impl ManageConnection for ConnectionManager {
    type Connection = Conn;
    type Error = OpenError;

    fn connect(&self) -> Result<Conn, OpenError> {
        match &self.settings.url {
            DatabaseUrl::Sqlite(path) => self.connect_sqlite(path),
            DatabaseUrl::Postgres(url) => self.connect_postgres(url),
        }
    }

    fn is_valid(&self, connection: &mut Conn) -> Result<(), OpenError> {
        match connection {
            Conn::Sqlite(_) => Ok(()),
            Conn::Postgres(inner) => inner.batch_execute("SELECT 1").map_err(OpenError::Setup),
        }
    }

    fn has_broken(&self, connection: &mut Conn) -> bool {
        is_broken(connection)
    }
}

/// Returns whether the connection is no longer usable.
pub fn is_broken(connection: &mut Conn) -> bool {
    R2D2Connection::is_broken(connection)
}

pub type Pool = R2d2Pool<ConnectionManager>;
pub type PooledConn = PooledConnection<ConnectionManager>;

/// Creates connection pools for one database: one at startup, and another each time the connections
/// stop responding.
#[derive(Clone)]
pub struct PoolFactory {
    settings: DatabaseSettings,

    clock: Arc<dyn Clock>,
}

impl PoolFactory {
    /// Returns how many operations may use a connection at once, not counting the batch loader.
    pub const fn max_concurrent_operations(&self) -> usize {
        self.settings.pool_size as usize
    }

    pub fn create_pool(&self) -> Pool {
        Pool::builder()
            .max_size(self.settings.pool_size + MAX_LOADER_THREADS)
            .min_idle(Some(1))
            .connection_timeout(self.settings.connect_timeout)
            .error_handler(Box::new(ConnectionErrorLogger))
            .build_unchecked(ConnectionManager::new(self.settings.clone(), Arc::clone(&self.clock)))
    }
}

/// Opens one connection, so that an invalid URL is reported at startup, and checks the version of
/// SQLite.
pub fn open(
    settings: &DatabaseSettings,
    if_missing: CreationPolicy,
    clock: Arc<dyn Clock>,
) -> Result<PoolFactory, OpenError> {
    if let DatabaseUrl::Sqlite(path) = &settings.url {
        ensure_sqlite_directory(Path::new(path), if_missing)?;
    }
    let mut first = ConnectionManager::new(settings.clone(), Arc::clone(&clock)).connect()?;
    require_supported_sqlite(&mut first)?;
    Ok(PoolFactory { settings: settings.clone(), clock })
}

/// Logs connection errors. The pool retries on its own; the waiting request receives
/// `StoreError::Unavailable`.
#[derive(Debug)]
struct ConnectionErrorLogger;

impl diesel::r2d2::HandleError<OpenError> for ConnectionErrorLogger {
    fn handle_error(&self, error: OpenError) {
        tracing::warn!(%error, "failed to connect to the database; will retry");
    }
}

fn ensure_sqlite_directory(path: &Path, if_missing: CreationPolicy) -> Result<(), OpenError> {
    if path.exists() {
        return Ok(());
    }
    match if_missing {
        CreationPolicy::Fail => Err(OpenError::DatabaseNotFound(path.to_owned())),
        CreationPolicy::Create => match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => fs::create_dir_all(dir).map_err(|error| OpenError::CreateDirectory(dir.to_owned(), error)),
            None => Ok(()),
        },
    }
}

fn require_supported_sqlite(connection: &mut Conn) -> Result<(), OpenError> {
    let Conn::Sqlite(_) = connection else { return Ok(()) };
    let version =
        read_sqlite_version(connection).map_err(|error| OpenError::UnsupportedSqliteVersion(error.to_string()))?;
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < MIN_SQLITE_VERSION {
        Err(OpenError::UnsupportedSqliteVersion(version))
    } else {
        Ok(())
    }
}

fn read_sqlite_version(connection: &mut Conn) -> Result<String, StoreError> {
    Ok(sql::<Text>("SELECT sqlite_version()").get_result(connection)?)
}

/// The effective settings of SQLite on a pooled connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    pub version: String,
    pub journal_mode: String,
    /// 2 means FULL.
    pub synchronous: i32,
    pub foreign_keys: i32,
}

/// Reads the settings of an SQLite connection. Fails on PostgreSQL.
pub fn read_sqlite_settings(connection: &mut Conn) -> Result<SqliteSettings, StoreError> {
    Ok(SqliteSettings {
        version: read_sqlite_version(connection)?,
        journal_mode: sql::<Text>("SELECT journal_mode FROM pragma_journal_mode").get_result(connection)?,
        synchronous: sql::<Integer>("SELECT synchronous FROM pragma_synchronous").get_result(connection)?,
        foreign_keys: sql::<Integer>("SELECT foreign_keys FROM pragma_foreign_keys").get_result(connection)?,
    })
}

/// The maximum number of loader threads, each with a connection of its own. A second thread starts
/// only if one batch cannot hold all waiting lookups.
pub(crate) const MAX_LOADER_THREADS: u32 = 2;
