//! Locks of Keyswap's that a test holds, and who waits for them.

use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection};

use super::database::{Database, Held};

impl Held {
    /// Runs SQL in the change that holds the lock.
    pub fn sql(&mut self, statements: &str) {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(statements).unwrap(),
            Self::Postgres(connection) => connection.batch_execute(statements).unwrap(),
        }
    }
}

impl Database {
    /// How many sessions wait for a lock of Keyswap's on PostgreSQL. SQLite tells nobody.
    pub fn waiting_for_locks(&self) -> usize {
        let waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        diesel::sql_query(waiting).execute(&mut PgConnection::establish(&self.url).unwrap()).unwrap()
    }
}
