//! Time of a deployment in the test: it passes when the test says so, for the program's timers as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use keyswap::{domain::time::Timestamp, store::Clock};
use tokio::time::Instant;

use crate::support::{Database, Kind};

/// When every walk begins, in milliseconds since 1970.
const BEGIN: i64 = 1_800_000_000_000;

/// The true time, and how far the database's clock is from it. The runtime's clock is paused: it is the true one.
pub struct Time {
    kind: Kind,
    began: Instant,
    offset: AtomicI64,
}

impl Time {
    /// Called within a runtime whose clock is paused.
    pub fn new(kind: Kind) -> Self {
        Self { kind, began: Instant::now(), offset: AtomicI64::new(0) }
    }

    /// Milliseconds.
    pub fn truth(&self) -> i64 {
        BEGIN + i64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// What the database takes for the time.
    pub fn of_database(&self) -> i64 {
        self.truth() + self.offset()
    }

    /// Sets the database's clock.
    pub fn jump(&self, by: i64, database: &Database) {
        self.offset.fetch_add(by, Ordering::SeqCst);
        self.tell(database);
    }

    pub async fn pass(&self, by: Duration, database: &Database) {
        tokio::time::advance(by).await;
        self.tell(database);
    }

    /// PostgreSQL has a clock of its own, which stands still until it is told.
    pub fn tell(&self, database: &Database) {
        if self.kind == Kind::Postgres {
            database.sql(&format!(
                "CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE AS 'SELECT {}::BIGINT'",
                self.of_database()
            ));
        }
    }
}

/// The clock of a replica's machine. With SQLite it is the database's.
pub struct Machine {
    pub time: Arc<Time>,
    /// Milliseconds from the true time, with PostgreSQL.
    pub off: i64,
    /// Broken on purpose: what nobody can set is set together with the database's clock.
    pub is_fooled: bool,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let fooled = self.is_fooled || self.time.kind == Kind::Sqlite;
        Timestamp::from_millis(if fooled { self.time.of_database() } else { self.time.truth() + self.off })
    }

    fn elapsed(&self) -> Duration {
        let since = self.time.truth() - BEGIN + if self.is_fooled { self.time.offset() } else { 0 };
        // A clock that was set back does not go below where this one began.
        Duration::from_millis((since + 1_000_000).max(0).unsigned_abs())
    }
}
