//! Reads of SQLite on the calling thread: for one row, a hand-over to another thread costs more
//! than the read. Such a read never waits for a lock, and its result is never required.

use std::sync::{Mutex, PoisonError};

use diesel::connection::SimpleConnection as _;

use crate::store::{
    connection::{Conn, ServerConn},
    error::StoreError,
    pool::ConnectionManager,
    settings::DatabaseUrl,
};

/// Idle connections for such reads, at most one for each thread that has read.
#[derive(Debug)]
pub(crate) struct LocalReaders {
    manager: ConnectionManager,
    idle: Mutex<Vec<ServerConn>>,
}

impl LocalReaders {
    /// Returns `None` for PostgreSQL, which is read over the network.
    pub(crate) fn new(manager: ConnectionManager) -> Option<Self> {
        matches!(manager.url(), DatabaseUrl::Sqlite(_)).then(|| Self { manager, idle: Mutex::default() })
    }

    /// Runs `body` with a connection that cannot write. Returns `None` if the database is locked or
    /// fails in another way.
    pub(crate) fn read<T>(&self, body: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Option<T> {
        let idle = self.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        // A connection that failed is not used again.
        let result = body(&mut connection).ok()?;
        self.lock().push(connection);
        Some(result)
    }

    fn connect(&self) -> Option<ServerConn> {
        let mut connection = self.manager.connect_to(self.manager.url()).ok()?;
        let Conn::Sqlite(inner) = &mut *connection else { return None };
        inner.batch_execute("PRAGMA query_only = ON; PRAGMA busy_timeout = 0").ok()?;
        Some(connection)
    }

    /// Closes the idle connections.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ServerConn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
