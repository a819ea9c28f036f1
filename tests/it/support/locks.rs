//! SQL on a held lock's connection, and the number of sessions that wait for it.

use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection};

use super::database::{Database, Held};

impl Held {
    /// Runs SQL in the transaction that holds the lock.
    pub fn sql(&mut self, statements: &str) {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(statements).unwrap(),
            Self::Postgres(connection) => connection.batch_execute(statements).unwrap(),
        }
    }
}

impl Database {
    /// The number of sessions that wait for one of Keyswap's advisory locks. PostgreSQL only:
    /// SQLite does not report waiting connections.
    pub fn waiting_for_locks(&self) -> usize {
        let waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        diesel::sql_query(waiting).execute(&mut PgConnection::establish(&self.url).unwrap()).unwrap()
    }

    /// The number of sessions that wait for the end of another transaction, which has locked a row.
    /// PostgreSQL only.
    pub fn waiting_for_rows(&self) -> usize {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')";
        diesel::sql_query(waiting).execute(&mut PgConnection::establish(&self.url).unwrap()).unwrap()
    }
}
