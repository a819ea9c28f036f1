//! The time of a simulated deployment. The test advances it, including the timers of the program.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use keyswap::{domain::common::time::Timestamp, store::Clock};
use tokio::time::Instant;

use crate::support::{Database, Kind};

/// The start of every walk, in milliseconds since 1970.
const BEGIN: i64 = 1_800_000_000_000;

/// The true time and the offset of the database clock from it. The clock of the runtime is paused
/// and represents the true time.
#[derive(Debug)]
pub struct Time {
    kind: Kind,
    began: Instant,
    offset: AtomicI64,
}

impl Time {
    /// Must be called within a runtime whose clock is paused.
    pub fn new(kind: Kind) -> Self {
        Self { kind, began: Instant::now(), offset: AtomicI64::new(0) }
    }

    /// The true time, in milliseconds since 1970.
    pub fn truth(&self) -> i64 {
        BEGIN + i64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// The time of the database clock, in milliseconds since 1970.
    pub fn of_database(&self) -> i64 {
        self.truth() + self.offset()
    }

    /// Moves the database clock by `by` milliseconds.
    pub fn jump(&self, by: i64, database: &Database) {
        self.offset.fetch_add(by, Ordering::SeqCst);
        self.tell(database);
    }

    pub async fn pass(&self, by: Duration, database: &Database) {
        tokio::time::advance(by).await;
        self.tell(database);
    }

    /// Sets the clock of PostgreSQL, which keeps this value until the next call.
    pub fn tell(&self, database: &Database) {
        if self.kind == Kind::Postgres {
            database.sql(&format!(
                "CREATE OR REPLACE FUNCTION keyswap_now() RETURNS BIGINT LANGUAGE SQL VOLATILE AS 'SELECT {}::BIGINT'",
                self.of_database()
            ));
        }
    }
}

/// The clock of a replica's machine. With SQLite it is the database clock.
#[derive(Debug)]
pub struct Machine {
    pub time: Arc<Time>,
    /// The offset from the true time in milliseconds, used with PostgreSQL.
    pub off: i64,
    /// An injected fault: the monotonic clock is set together with the database clock.
    pub is_fooled: bool,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let fooled = self.is_fooled || self.time.kind == Kind::Sqlite;
        Timestamp::from_millis(if fooled { self.time.of_database() } else { self.time.truth() + self.off })
    }

    fn monotonic_elapsed(&self) -> Duration {
        let since = self.time.truth() - BEGIN + if self.is_fooled { self.time.offset() } else { 0 };
        // A clock that was set back saturates at zero.
        Duration::from_millis((since + 1_000_000).max(0).unsigned_abs())
    }
}
