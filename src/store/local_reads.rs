//! Reads of SQLite on the calling thread: for one row, a hand-over to another thread costs more
//! than the read. Such a read never waits for a lock, and its result is never required.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

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
    idle: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    connection: ServerConn,
    opened_at: Instant,
}

/// How long a connection is used: the file could be replaced by another one.
const MAX_AGE: Duration = Duration::from_secs(10);

impl LocalReaders {
    /// Returns `None` for PostgreSQL, which is read over the network.
    pub(crate) fn new(manager: ConnectionManager) -> Option<Self> {
        matches!(manager.url(), DatabaseUrl::Sqlite(_)).then(|| Self { manager, idle: Mutex::default() })
    }

    /// Runs `body` with a connection that cannot write. Returns `None` if the database is locked or
    /// fails in another way.
    pub(crate) fn read<T>(&self, body: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Option<T> {
        let idle = self.lock().pop().filter(|reader| reader.opened_at.elapsed() < MAX_AGE);
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader { connection: self.manager.connect_sqlite_reader()?, opened_at: Instant::now() },
        };
        let result = body(&mut reader.connection);
        self.lock().push(reader);
        result.ok()
    }

    /// Closes the idle connections.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
