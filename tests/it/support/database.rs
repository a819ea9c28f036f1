//! A new database for each test, with a clock that the test controls.

mod copy;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection};
use keyswap::{
    crypto::{random::SystemEntropy, sha256},
    domain::common::time::Timestamp,
    store::{Clock, CreationPolicy, DatabaseSettings, Store, SystemClock},
};
use tempfile::TempDir;

use super::panics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database of a single test. Dropping the value deletes the database.
pub struct Database {
    pub kind: Kind,
    pub url: String,
    pub dir: TempDir,
    name: Option<String>,
    offset: Arc<AtomicI64>,
    /// The part of `offset`, in milliseconds, that also counts as elapsed time on the monotonic
    /// clock.
    passed: Arc<AtomicI64>,
}

/// The clock that tests pass to Keyswap: the system clock plus an offset. It is the clock of
/// SQLite; PostgreSQL uses its own.
#[derive(Debug)]
pub struct MovedClock {
    offset: Arc<AtomicI64>,
    passed: Arc<AtomicI64>,
}

impl MovedClock {
    /// A clock with a constant offset of `millis` milliseconds from the system clock.
    pub fn by(millis: i64) -> Self {
        Self { offset: Arc::new(AtomicI64::new(millis)), passed: Arc::new(AtomicI64::new(millis)) }
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().millis() + self.offset.load(Ordering::SeqCst))
    }

    fn monotonic_elapsed(&self) -> Duration {
        let passed = self.passed.load(Ordering::SeqCst).max(0).unsigned_abs();
        SystemClock.monotonic_elapsed() + Duration::from_millis(passed)
    }
}

/// Advisory lock of the test process that creates the template: "template" in ASCII.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// The URL of the PostgreSQL server for tests: a superuser, no database name.
pub fn postgres() -> String {
    std::env::var("KEYSWAP_TEST_POSTGRES").expect("KEYSWAP_TEST_POSTGRES is not set: run scripts/with-postgres COMMAND")
}

impl Database {
    /// A migrated database: a copy of a template that all tests share.
    pub fn new(kind: Kind) -> Self {
        let database = Self::unmade(kind);
        match &database.name {
            None => copy_template(Path::new(database.url.strip_prefix("sqlite://").unwrap())),
            Some(name) => {
                // FILE_COPY writes almost no WAL, and on tmpfs it is as fast as WAL_LOG.
                let template = postgres_template();
                let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY");
                // The process that made the template may still be closing its connections.
                let began = Instant::now();
                while let Err(error) = administer().batch_execute(&create) {
                    let is_in_use = error.to_string().contains("being accessed by other users");
                    assert!(is_in_use && began.elapsed() < Duration::from_secs(60), "{error}");
                }
            }
        }
        database
    }

    /// An empty database, for tests of the first start and of migrations.
    pub fn empty(kind: Kind) -> Self {
        let database = Self::unmade(kind);
        if let Some(name) = &database.name {
            administer().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        }
        database
    }

    /// Reserves a name and a directory without creating the database.
    fn unmade(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        panics::watch();
        let dir = tempfile::tempdir().unwrap();
        let (offset, passed) = (Arc::default(), Arc::default());
        match kind {
            Kind::Sqlite => {
                let url = format!("sqlite://{}", dir.path().join("data/keyswap.db").display());
                Self { kind, url, dir, name: None, offset, passed }
            }
            Kind::Postgres => {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                let name = format!("keyswap_{}_{count}", std::process::id());
                administer().batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
                Self { kind, url: format!("{}/{name}", postgres()), dir, name: Some(name), offset, passed }
            }
        }
    }

    pub fn clock(&self) -> Arc<MovedClock> {
        Arc::new(MovedClock { offset: Arc::clone(&self.offset), passed: Arc::clone(&self.passed) })
    }

    /// Lets `millis` milliseconds pass: moves the wall clock and the monotonic clock.
    pub fn move_clock(&self, millis: i64) {
        self.set_clock(millis);
        self.passed.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the wall clock forward or back by `millis` milliseconds. The monotonic clock does not
    /// move.
    pub fn set_clock(&self, millis: i64) {
        let offset = self.offset.load(Ordering::SeqCst) + millis;
        if self.kind == Kind::Postgres {
            self.sql(&format!(
                "CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE \
                 AS 'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT + ({offset})'"
            ));
        }
        // Stored last and in one step: a server that reads the clock in between sees the database
        // ahead of its own clock, suspects a jump and reads again.
        self.offset.store(offset, Ordering::SeqCst);
    }

    /// Runs SQL on a separate connection that the server does not see.
    pub fn sql(&self, statements: &str) {
        match self.kind {
            Kind::Sqlite => {
                sqlite(&self.url).batch_execute(statements).unwrap();
            }
            Kind::Postgres => {
                PgConnection::establish(&self.url).unwrap().batch_execute(statements).unwrap();
            }
        }
    }
}

/// Connects to the file of a `sqlite://` URL. The busy timeout is needed because the first and the
/// last connection to a WAL database lock it briefly, against readers as well.
pub fn sqlite(url: &str) -> diesel::SqliteConnection {
    let mut connection = diesel::SqliteConnection::establish(url.strip_prefix("sqlite://").unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
    connection
}

/// A database lock that a test holds until it is released.
pub enum Held {
    Sqlite(diesel::SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    /// Takes the lock that every change needs before it can commit.
    pub fn hold_changes(&self) -> Held {
        match (self.kind, self.hold(i64::MIN)) {
            (Kind::Sqlite, held) => held,
            (Kind::Postgres, Held::Postgres(mut connection)) => {
                // Exchanges read the table meanwhile.
                connection.batch_execute("LOCK TABLE event_chain_head IN EXCLUSIVE MODE").unwrap();
                Held::Postgres(connection)
            }
            (Kind::Postgres, held @ Held::Sqlite(_)) => held,
        }
    }

    /// Takes the advisory lock `name`, as an unfinished change does. SQLite has one write lock for
    /// all changes.
    pub fn hold(&self, name: i64) -> Held {
        match self.kind {
            Kind::Sqlite => {
                let mut connection = sqlite(&self.url);
                connection.batch_execute("BEGIN IMMEDIATE").unwrap();
                Held::Sqlite(connection)
            }
            Kind::Postgres => {
                let mut connection = PgConnection::establish(&self.url).unwrap();
                connection.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({name})")).unwrap();
                Held::Postgres(connection)
            }
        }
    }
}

impl Held {
    pub fn release(self) {
        match self {
            Self::Sqlite(mut connection) => connection.batch_execute("COMMIT").unwrap(),
            Self::Postgres(mut connection) => connection.batch_execute("COMMIT").unwrap(),
        }
    }
}

/// A connection to the maintenance database, for `CREATE DATABASE` and `DROP DATABASE`.
fn administer() -> PgConnection {
    PgConnection::establish(&format!("{}/postgres", postgres())).unwrap()
}

/// A hash of the migrations. It is part of the template's name, so changed migrations get a new
/// template.
fn hash_of_migrations(dir: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dir);
    let mut migrations: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("up.sql"))
        .filter(|up| up.exists())
        .collect();
    migrations.sort();
    let texts: Vec<u8> = migrations.into_iter().flat_map(|up| fs::read(up).unwrap()).collect();
    keyswap::crypto::sha256_hex(&texts)[..16].to_owned()
}

/// Runs the migrations through the same code path as `serve`.
fn migrate(url: &str) {
    let settings = DatabaseSettings {
        url: url.parse().unwrap(),
        pool_size: 1,
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        lease: Duration::from_secs(30),
    };
    let entropy = Arc::new(SystemEntropy::default());
    let store = Store::open(&settings, CreationPolicy::Create, Arc::new(SystemClock), entropy, sha256).unwrap();
    store.run_migrations().unwrap();
}

/// The name of the migrated PostgreSQL template. The first test process that needs it creates it.
fn postgres_template() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = format!("keyswap_template_{}", hash_of_migrations("postgres"));
        let mut connection = administer();
        connection.batch_execute(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).unwrap();
        let made = format!("SELECT 1 FROM pg_database WHERE datname = '{name}' AND datistemplate");
        if diesel::sql_query(made).execute(&mut connection).unwrap() == 0 {
            connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
            connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
            migrate(&format!("{}/{name}", postgres()));
            // `IS_TEMPLATE` marks a complete template. `ALLOW_CONNECTIONS false` keeps sessions
            // out, because `CREATE DATABASE` cannot copy a database that has any.
            connection
                .batch_execute(&format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"))
                .unwrap();
        }
        name
    })
}

/// Copies the migrated SQLite database. The first test process leaves it in the temporary
/// directory.
fn copy_template(path: &Path) {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let kept = std::env::temp_dir().join(format!("keyswap-template-{}.db", hash_of_migrations("sqlite")));
        if let Ok(bytes) = fs::read(&kept) {
            return bytes;
        }
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("keyswap.db");
        migrate(&format!("sqlite://{}", made.display()));
        // A thread of the pool may still close its connection.
        for _ in 0..100 {
            if !made.with_extension("db-wal").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!made.with_extension("db-wal").exists(), "the last connection writes the WAL back");
        // The rename is atomic: other processes see the whole file or no file.
        let unnamed = dir.path().join("copy.db");
        fs::copy(&made, &unnamed).unwrap();
        let _ = fs::rename(&unnamed, &kept);
        fs::read(&made).unwrap()
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, template).unwrap();
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        if let Ok(mut connection) = PgConnection::establish(&format!("{}/postgres", postgres())) {
            let _ = connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}
