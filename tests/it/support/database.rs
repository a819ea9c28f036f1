//! A new database for each test, and a hand on its clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use keyswap::{
    domain::time::Timestamp,
    store::{Clock, SystemClock},
};
use tempfile::TempDir;

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

/// The PostgreSQL server for tests: a URL of a superuser, without a database name.
pub fn postgres() -> String {
    std::env::var("KEYSWAP_TEST_POSTGRES").expect("KEYSWAP_TEST_POSTGRES is not set: run scripts/with-postgres COMMAND")
}

impl Database {
    pub fn new(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
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
                let server = postgres();
                let mut connection = PgConnection::establish(&format!("{server}/postgres")).unwrap();
                connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).unwrap();
                connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
                Self { kind, url: format!("{server}/{name}"), dir, name: Some(name), offset, passed }
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
                let path = self.url.strip_prefix("sqlite://").unwrap();
                let mut connection = diesel::SqliteConnection::establish(path).unwrap();
                connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
                connection.batch_execute(statements).unwrap();
            }
            Kind::Postgres => {
                PgConnection::establish(&self.url).unwrap().batch_execute(statements).unwrap();
            }
        }
    }
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
                let path = self.url.strip_prefix("sqlite://").unwrap();
                let mut connection = diesel::SqliteConnection::establish(path).unwrap();
                connection.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
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

impl Drop for Database {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        if let Ok(mut connection) = PgConnection::establish(&format!("{}/postgres", postgres())) {
            let _ = connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}
