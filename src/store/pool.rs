//! Opens connections to PostgreSQL and SQLite, selected by the scheme of the URL, and pools them.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diesel::{
    Connection as _, PgConnection, SqliteConnection,
    connection::SimpleConnection,
    declare_sql_function,
    r2d2::{ManageConnection, Pool as R2d2Pool, PooledConnection, R2D2Connection},
};

use tokio::time::Instant;

use crate::{
    domain::common::entropy::Entropy,
    store::{
        connection::ServerConn,
        database_lease::DatabaseLease,
        dialect::server,
        error::OpenError,
        primary::PrimarySearch,
        session::{self, SessionIds},
        settings::{Clock, CreationPolicy, DatabaseSettings, DatabaseUrl},
        sqlite::require_supported_sqlite,
    },
};

pub use crate::store::connection::{Conn, MultiBackend};

#[declare_sql_function]
extern "SQL" {
    /// Returns the time of the database in milliseconds since 1970-01-01 UTC. On PostgreSQL the
    /// baseline migration creates this function. SQLite runs in the server process, so the function
    /// is registered on each connection.
    fn keyswap_now() -> diesel::sql_types::BigInt;
}

/// How much longer than its timeouts a new connection may take.
const CONNECTION_MARGIN: Duration = Duration::from_secs(10);

/// Creates the connections of the pool.
#[derive(Clone)]
pub struct ConnectionManager {
    settings: DatabaseSettings,
    clock: Arc<dyn Clock>,
    session_ids: Arc<SessionIds>,
    /// Whether new connections are checked for a pooler that shares sessions: the first one, and
    /// the first one after a connection or its session was lost, because a pooler that is restarted
    /// can change its mode.
    suspects_pooler: Arc<AtomicBool>,
    lease: Arc<DatabaseLease>,
    /// The host of the primary when the database was opened. It is used until the first heartbeat.
    first_url: DatabaseUrl,
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manager({})", self.settings.url)
    }
}

impl ConnectionManager {
    pub const fn url(&self) -> &DatabaseUrl {
        &self.settings.url
    }

    /// Returns how long a new connection may take: libpq gives up earlier, unless the name of the
    /// host has many addresses, and the statements that prepare a session have a timeout.
    pub fn connection_limit(&self) -> Duration {
        let connect = self.settings.url.connect_timeout().unwrap_or_else(|| self.connect_timeout());
        connect + self.settings.statement_timeout + CONNECTION_MARGIN
    }

    /// libpq does not accept less than two seconds.
    fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.settings.connect_timeout.as_secs().max(2))
    }

    /// Connects to `url`, which is the configured one or names one of its hosts.
    pub fn connect_to(&self, url: &DatabaseUrl) -> Result<ServerConn, OpenError> {
        match url {
            DatabaseUrl::Sqlite(path) => self.connect_sqlite(path),
            DatabaseUrl::Postgres(url) => self.connect_postgres(url),
        }
    }

    fn connect_sqlite(&self, path: &str) -> Result<ServerConn, OpenError> {
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
        Ok(ServerConn::new(Conn::Sqlite(connection), None, String::new()))
    }

    /// Opens an existing database of SQLite for reads that never wait for a lock, and reads from it
    /// once. Returns `None` if that fails.
    pub fn connect_sqlite_reader(&self) -> Option<ServerConn> {
        let DatabaseUrl::Sqlite(path) = &self.settings.url else { return None };
        let mut connection = SqliteConnection::establish(path).ok()?;
        connection
            .batch_execute("PRAGMA busy_timeout = 0; PRAGMA query_only = ON; PRAGMA case_sensitive_like = ON; PRAGMA schema_version")
            .ok()?;
        let clock = Arc::clone(&self.clock);
        keyswap_now_utils::register_nondeterministic_impl(&connection, move || clock.now().millis()).ok()?;
        Some(ServerConn::new(Conn::Sqlite(connection), None, String::new()))
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

    fn connect_postgres(&self, url: &str) -> Result<ServerConn, OpenError> {
        let connect = self.connect_timeout().as_secs();
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
            // A standby and a server that is read-only are not trusted (invariant 17).
            ("target_session_attrs", "read-write".to_owned()),
        ] {
            if !url.contains(&format!("{name}=")) {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{name}={value}"));
            }
        }
        let mut connection = PgConnection::establish(&url).map_err(session::describe_connection_error)?;
        let id = self.session_ids.issue();
        session::prepare(&mut connection, &id, self.settings.statement_timeout)?;
        let server = server::read_identity(&mut connection).map_err(OpenError::Setup)?;
        Ok(ServerConn::new(Conn::Postgres(connection), Some(server), id))
    }
}

impl ManageConnection for ConnectionManager {
    type Connection = ServerConn;
    type Error = OpenError;

    /// Connects to the server that the lease is on. It is one of the hosts of the configured URL,
    /// and another host may name a former primary.
    fn connect(&self) -> Result<ServerConn, OpenError> {
        let url = self.lease.url().unwrap_or_else(|| self.first_url.clone());
        let mut connection = self.connect_to(&url)?;
        if self.lease.is_on_other_server(connection.server()) {
            return Err(OpenError::OtherServer);
        }
        if self.suspects_pooler.load(Ordering::Relaxed) {
            connection.require_own_sessions(&mut self.connect_to(&url)?)?;
            self.suspects_pooler.store(false, Ordering::Relaxed);
        }
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut ServerConn) -> Result<(), OpenError> {
        if self.lease.is_on_other_server(connection.server()) {
            return Err(OpenError::OtherServer);
        }
        let checked = connection.check_session();
        if checked.is_err() {
            self.suspects_pooler.store(true, Ordering::Relaxed);
        }
        checked
    }

    fn has_broken(&self, connection: &mut ServerConn) -> bool {
        let is_lost = is_broken(connection);
        if is_lost {
            self.suspects_pooler.store(true, Ordering::Relaxed);
        }
        is_lost || self.lease.is_on_other_server(connection.server())
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
pub struct PoolFactory(ConnectionManager);

impl PoolFactory {
    /// Returns how many operations may use a connection at once, not counting the batch loader.
    pub const fn max_concurrent_operations(&self) -> usize {
        self.0.settings.pool_size as usize
    }

    pub const fn lease(&self) -> &Arc<DatabaseLease> {
        &self.0.lease
    }

    pub fn connection_manager(&self) -> ConnectionManager {
        self.0.clone()
    }

    pub fn create_pool(&self) -> Pool {
        Pool::builder()
            .max_size(self.0.settings.pool_size + MAX_LOADER_THREADS)
            .min_idle(Some(1))
            .connection_timeout(self.0.settings.connect_timeout)
            .error_handler(Box::new(ConnectionErrorLogger))
            .build_unchecked(self.0.clone())
    }
}

/// Opens one connection to SQLite, or two to the primary of PostgreSQL, so that an invalid URL, an
/// unsupported version of SQLite and a pooler that shares sessions are reported at startup.
pub fn open(
    settings: &DatabaseSettings,
    if_missing: CreationPolicy,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<PoolFactory, OpenError> {
    let is_sqlite = matches!(settings.url, DatabaseUrl::Sqlite(_));
    if let DatabaseUrl::Sqlite(path) = &settings.url {
        ensure_sqlite_directory(Path::new(path), if_missing)?;
    }
    let mut manager = ConnectionManager {
        settings: settings.clone(),
        clock,
        session_ids: Arc::new(SessionIds::new(entropy)?),
        suspects_pooler: Arc::new(AtomicBool::new(!is_sqlite)),
        lease: Arc::new(DatabaseLease::new(settings.lease)),
        first_url: settings.url.clone(),
    };
    let search = PrimarySearch::new(&settings.url);
    if search.has_several_hosts() {
        let connecting = manager.clone();
        (_, manager.first_url) = search.connect(manager.connection_limit(), move |url| connecting.connect_to(url))?;
    }
    let mut first = manager.connect()?;
    require_supported_sqlite(&mut first)?;
    Ok(PoolFactory(manager))
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

/// The maximum number of loader threads, each with a connection of its own. A second thread starts
/// only if one batch cannot hold all waiting lookups.
pub(crate) const MAX_LOADER_THREADS: u32 = 2;
