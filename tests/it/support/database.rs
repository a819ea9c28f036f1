//! A new database for each test, and a hand on its clock.

mod copy;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection};
use keyswap::{
    crypto::{random::SystemEntropy, sha256},
    domain::time::Timestamp,
    store::{Clock, DatabaseSettings, DatabaseUrl, IfMissing, Store, SystemClock},
};
use tempfile::TempDir;

use super::panics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database nobody else uses. Gone when dropped.
pub struct Database {
    pub kind: Kind,
    pub url: String,
    pub dir: TempDir,
    name: Option<String>,
    offset: Arc<AtomicI64>,
    /// As much of it as time that passed, for those who watch the clock.
    passed: Arc<AtomicI64>,
}

/// The clock of SQLite in tests.
pub struct MovedClock {
    offset: Arc<AtomicI64>,
    passed: Arc<AtomicI64>,
}

impl MovedClock {
    /// One that stands `millis` from ours, and has since it began.
    pub fn by(millis: i64) -> Self {
        Self { offset: Arc::new(AtomicI64::new(millis)), passed: Arc::new(AtomicI64::new(millis)) }
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().millis() + self.offset.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        let passed = self.passed.load(Ordering::SeqCst).max(0).unsigned_abs();
        SystemClock.elapsed() + Duration::from_millis(passed)
    }
}

/// Taken by the test process that makes the template: "template" in ASCII.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// The PostgreSQL server for tests: a URL of a superuser, without a database name.
pub fn postgres() -> String {
    std::env::var("KEYSWAP_TEST_POSTGRES").expect("KEYSWAP_TEST_POSTGRES is not set: run scripts/with-postgres COMMAND")
}

impl Database {
    /// A database whose migrations have run: a copy of one that was migrated once for all tests.
    pub fn new(kind: Kind) -> Self {
        let database = Self::unmade(kind);
        match &database.name {
            None => copy_template(Path::new(database.url.strip_prefix("sqlite://").unwrap())),
            Some(name) => {
                // FILE_COPY writes next to no WAL, and on tmpfs it is as fast as the other way.
                let template = postgres_template();
                let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY");
                administer().batch_execute(&create).unwrap();
            }
        }
        database
    }

    /// An empty database, for tests of first starts and of migrations.
    pub fn empty(kind: Kind) -> Self {
        let database = Self::unmade(kind);
        if let Some(name) = &database.name {
            administer().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        }
        database
    }

    /// A name for one, and nothing under it yet.
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

    /// Lets time pass, for the database's clock and for the one that nobody can set.
    pub fn move_clock(&self, millis: i64) {
        self.set_clock(millis);
        self.passed.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the database's clock, forward or back, and no other.
    pub fn set_clock(&self, millis: i64) {
        let offset = self.offset.load(Ordering::SeqCst) + millis;
        if self.kind == Kind::Postgres {
            self.sql(&format!(
                "CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE \
                 AS 'SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT + ({offset})'"
            ));
        }
        // Last, and at once: a server that looks meanwhile finds the database ahead of its machine, and looks twice.
        self.offset.store(offset, Ordering::SeqCst);
    }

    /// Runs SQL behind the server's back.
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

/// A connection to the file of a `sqlite://` URL, with a busy timeout: the first connection to a WAL database, and the last, lock it for a moment
/// against readers as well.
pub fn sqlite(url: &str) -> diesel::SqliteConnection {
    let mut connection = diesel::SqliteConnection::establish(url.strip_prefix("sqlite://").unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
    connection
}

/// A lock of Keyswap's that a test holds.
pub enum Held {
    Sqlite(diesel::SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    /// As `hold`, the lock that every change takes in the end.
    pub fn hold_changes(&self) -> Held {
        match (self.kind, self.hold(i64::MIN)) {
            (Kind::Sqlite, held) => held,
            (Kind::Postgres, Held::Postgres(mut connection)) => {
                connection.batch_execute("LOCK TABLE event_head IN ACCESS EXCLUSIVE MODE").unwrap();
                Held::Postgres(connection)
            }
            (Kind::Postgres, held @ Held::Sqlite(_)) => held,
        }
    }

    /// Takes the lock `name`, as a change does that is not over yet; SQLite has one for all.
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

/// A connection in which databases are made and dropped.
fn administer() -> PgConnection {
    PgConnection::establish(&format!("{}/postgres", postgres())).unwrap()
}

/// What the template is named after: one for each text of the migrations.
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

/// Runs the migrations, by the way that `serve` takes.
fn migrate(url: &str) {
    let settings = DatabaseSettings {
        url: DatabaseUrl::parse(url).unwrap(),
        pool_size: 1,
        connect_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
    };
    let entropy = Arc::new(SystemEntropy::default());
    let store = Store::open(&settings, IfMissing::Create, Arc::new(SystemClock), entropy, sha256).unwrap();
    store.migrate().unwrap();
}

/// The name of the migrated PostgreSQL database, made by whichever test process asks first.
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
            // Marked only when whole; nothing may stay connected to what is copied.
            connection
                .batch_execute(&format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"))
                .unwrap();
        }
        name
    })
}

/// Copies the migrated SQLite database, which the first test process leaves in the temporary directory.
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
        assert!(!made.with_extension("db-wal").exists(), "the last connection writes the WAL back");
        // Renamed into its place: another process sees all of it or nothing.
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
