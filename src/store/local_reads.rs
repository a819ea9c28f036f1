//! Reads of SQLite on the calling thread: for one row, a hand-over to another thread costs more
//! than the read. Such a read never waits for a lock, and its result is never required.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{
    connection::{Conn, ServerConn},
    error::StoreError,
    pool::ConnectionManager,
    settings::DatabaseUrl,
};

/// Idle connections for such reads, about one for each thread that reads.
#[derive(Debug)]
pub(crate) struct LocalReaders {
    manager: ConnectionManager,
    idle: Mutex<Vec<Reader>>,
    is_opening: AtomicBool,
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
    pub(crate) fn new(manager: ConnectionManager) -> Option<Arc<Self>> {
        let is_sqlite = matches!(manager.url(), DatabaseUrl::Sqlite(_));
        is_sqlite.then(|| Arc::new(Self { manager, idle: Mutex::default(), is_opening: AtomicBool::new(false) }))
    }

    /// Runs `body` with a connection that cannot write. Returns `None` if no connection is open
    /// yet, if the database is locked, or if `body` fails.
    pub(crate) fn read<T>(self: &Arc<Self>, body: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Option<T> {
        let idle = self.lock().pop().filter(|reader| reader.opened_at.elapsed() < MAX_AGE);
        let Some(mut reader) = idle else {
            self.open_another();
            return None;
        };
        let result = body(&mut reader.connection);
        let mut idle = self.lock();
        if result.is_ok() {
            idle.push(reader);
        } else {
            // Whatever the cause, a new connection reads on another thread first.
            idle.clear();
        }
        drop(idle);
        result.ok()
    }

    /// Opens a connection on another thread. Its first read can take ten seconds: while another
    /// process recovers the write-ahead log, SQLite retries on a connection that has not mapped the
    /// shared memory yet, whatever its busy timeout. Later reads fail at once.
    fn open_another(self: &Arc<Self>) {
        if self.is_opening.swap(true, Ordering::AcqRel) {
            return;
        }
        let readers = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Some(connection) = readers.manager.connect_sqlite_reader() {
                readers.lock().push(Reader { connection, opened_at: Instant::now() });
            }
            readers.is_opening.store(false, Ordering::Release);
        });
    }

    /// Closes the idle connections.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::random::SystemEntropy,
        store::{
            pool,
            settings::{CreationPolicy, DatabaseSettings, SystemClock},
        },
    };

    #[tokio::test(start_paused = true)]
    async fn connection_is_not_used_for_longer_than_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(10);
        let settings = DatabaseSettings {
            url: format!("sqlite://{}", dir.path().join("keyswap.db").display()).parse().unwrap(),
            pool_size: 1,
            connect_timeout: limit,
            statement_timeout: limit,
            lease: limit,
        };
        let entropy = SystemEntropy::default();
        let pool = pool::open(&settings, CreationPolicy::Create, Arc::new(SystemClock), &entropy).unwrap();
        let readers = LocalReaders::new(pool.connection_manager()).unwrap();
        let connection = readers.manager.connect_sqlite_reader().unwrap();
        readers.lock().push(Reader { connection, opened_at: Instant::now() });
        tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
        assert_eq!(readers.read(|_| Ok(())), Some(()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(readers.read(|_| Ok(())), None, "the file may have been replaced");
    }
}
