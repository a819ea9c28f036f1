//! Persistence layer, the only module that depends on Diesel. Most submodules cover one table.
//! `dialect` contains the hand-written SQL, including what differs between PostgreSQL and SQLite,
//! except the statements that prepare a connection (`session`, `sqlite`) and copy a database
//! (`backup`).

pub mod access;
pub mod api_keys;
pub mod backup;
mod batch_loader;
mod column_types;
mod columns;
mod commit;
pub mod common;
mod connection;
pub mod credentials;
mod database_lease;
mod dialect;
pub mod directory;
pub mod encryption;
mod error;
pub mod events;
pub mod exchange_counts;
mod heartbeat;
mod local_reads;
mod lock;
mod lookup_queue;
mod migrate;
mod operation_limits;
mod own_commits;
mod pending_changes;
mod pool;
mod pool_state;
pub mod portal;
mod prelude;
mod primary;
mod query;
mod reads;
mod replication;
mod retry;
mod row_encryption;
pub mod row_versions;
mod rows;
mod schema;
mod session;
mod settings;
pub mod signing;
mod sqlite;
pub mod status_lists;
mod transaction;
pub mod webhooks;

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock, Weak, mpsc},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::timeout;

use crate::{
    domain::{
        common::{encryption::RowCipher, entropy::Entropy},
        events::Digest,
    },
    store::{
        database_lease::{DatabaseLease, Trust, UnverifiedRead, monotonic_now},
        local_reads::LocalReaders,
        operation_limits::{OperationKind, OperationPermits},
        own_commits::OwnCommits,
        pool_state::PoolState,
    },
};

pub use connection::Conn;
pub use credentials::{key_context::LookupDetail, key_details::CredentialLookup};
pub use database_lease::DatabaseLeaseError;
pub use dialect::{
    durability_faults,
    server::{Replication, ReplicationMode},
};
pub use error::{OpenError, StoreError};
pub use lock::Lock;
pub use own_commits::CommittedEvent;
pub use replication::{read_replication, read_system_id, read_timeline};
pub use retry::{ChangeError, RetryCounts, RetryReason};
pub use row_encryption::{AuthenticatedRow, RowEncryption};
pub use settings::{Clock, CreationPolicy, DatabaseSettings, DatabaseUrl, SystemClock};
pub use sqlite::{SqliteSettings, read_sqlite_settings};
pub use transaction::{NoEvent, Outcome, Tx, now};

/// A handle to the database. Clones share the connection pool.
#[derive(Clone)]
pub struct Store {
    pool_state: Arc<ArcSwap<PoolState>>,
    pool_factory: pool::PoolFactory,
    local_readers: Option<Arc<LocalReaders>>,
    /// Limits the operations that wait for or use a connection. When no permit is left, an
    /// operation fails with `Unavailable` immediately. Lookups have a limit of their own.
    admission: OperationPermits,
    wait: Duration,
    /// The longest time that an operation with a permit, or a lookup, may take.
    operation_timeout: Duration,
    entropy: Arc<dyn Entropy>,
    encryption: Arc<RowEncryption>,
    retries: Arc<RetryCounts>,
    own_commits: Arc<OwnCommits>,
    /// The heartbeats of a server end when the last clone of the store is dropped. The reference is
    /// valid as long as their thread runs.
    heartbeats: Arc<OnceLock<(mpsc::Sender<Infallible>, Weak<()>)>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Maximum number of operations of a kind that wait for or use a connection.
const MAX_PENDING_OPERATIONS: usize = 4096;

impl Store {
    /// Opens the database. Migrations are run separately, by `run_migrations`.
    pub fn open(
        settings: &DatabaseSettings,
        if_missing: CreationPolicy,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        digest: Digest,
    ) -> Result<Self, OpenError> {
        let pool_factory = pool::open(settings, if_missing, clock, &*entropy)?;
        Ok(Self {
            pool_state: Arc::new(ArcSwap::from_pointee(PoolState::new(&pool_factory))),
            local_readers: LocalReaders::new(pool_factory.connection_manager()),
            pool_factory,
            admission: OperationPermits::each(MAX_PENDING_OPERATIONS),
            wait: settings.connect_timeout,
            operation_timeout: settings.connect_timeout + settings.statement_timeout,
            entropy,
            encryption: Arc::new(RowEncryption::new(digest)),
            retries: Arc::default(),
            own_commits: Arc::default(),
            heartbeats: Arc::default(),
        })
    }

    const fn lease(&self) -> &Arc<DatabaseLease> {
        self.pool_factory.lease()
    }

    /// Gives the store the master keys. Changes of keys fail before.
    pub fn set_cipher(&self, cipher: Arc<dyn RowCipher>) {
        self.encryption.set_cipher(cipher);
    }

    /// Returns what authenticates rows, for reads.
    pub fn encryption(&self) -> Arc<RowEncryption> {
        Arc::clone(&self.encryption)
    }

    /// Runs the pending migrations and returns their versions.
    pub fn run_migrations(&self) -> Result<Vec<String>, OpenError> {
        migrate::run(&mut self.get_connection()?)
    }

    pub fn migration_status(&self) -> Result<migrate::MigrationStatus, OpenError> {
        migrate::status(&mut self.get_connection()?)
    }

    fn get_connection(&self) -> Result<pool::PooledConn, OpenError> {
        self.pool_state.load().pool.get().map_err(|error| OpenError::Migration(error.to_string()))
    }

    /// Runs `body` with a pooled connection on a blocking thread. `body` only reads; no transaction
    /// is started for it.
    pub async fn read<T, E>(&self, body: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_blocking(OperationKind::Read, Trust::RollbackChecked, move |_, connection| body(connection)).await
    }

    /// Returns how many changes were repeated since the start.
    pub fn retries(&self) -> &RetryCounts {
        &self.retries
    }

    /// Runs `body` with a pooled connection on a blocking thread. What it returns, errors included,
    /// is trusted only if the lease is held afterwards. A change requires it before as well.
    async fn run_blocking<T, E>(
        &self,
        kind: OperationKind,
        trust: Trust,
        body: impl FnOnce(&Self, &mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let unavailable = |cause: &str| E::from(StoreError::unavailable(cause));
        let _queued = self.admission.try_acquire(kind).ok_or_else(|| unavailable("too many requests wait for it"))?;
        let pool_state = self.pool_state.load_full();
        let Ok(permit) = timeout(self.wait, Arc::clone(pool_state.permits.of(kind)).acquire_owned()).await else {
            if pool_state.is_unresponsive(self.operation_timeout) {
                self.replace_pool(&pool_state);
            }
            return Err(unavailable("no connection was free in time"));
        };
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let (store, taken) = (self.clone(), Arc::clone(&pool_state));
        let work = tokio::task::spawn_blocking(move || {
            let connection = taken.pool.get();
            // A connection error is also a response. The pool is replaced only if there is no
            // response.
            taken.record_response();
            let mut connection = connection.map_err(StoreError::unavailable)?;
            if kind != OperationKind::Read {
                // A commit cannot be undone when the lease turns out to have ended.
                store.lease().check(connection.server(), trust, monotonic_now()).map_err(StoreError::unavailable)?;
            }
            let result = body(&store, &mut connection);
            taken.record_response();
            drop(permit);
            Ok::<_, StoreError>(UnverifiedRead::new(result, connection.server()))
        });
        // This timeout covers a database host or network that accepts data and never responds. The
        // database's own timeouts have no effect then.
        let Ok(done) = timeout(self.operation_timeout, work).await else {
            if pool_state.is_unresponsive(self.operation_timeout) {
                self.replace_pool(&pool_state);
            }
            return Err(unavailable("it does not answer"));
        };
        done.map_err(StoreError::unavailable)
            .flatten()
            .and_then(|result| result.accept(self.lease(), trust))
            .map_err(E::from)?
    }

    /// Replaces the pool. Threads that are blocked on unresponsive connections keep them.
    fn replace_pool(&self, unresponsive: &Arc<PoolState>) {
        if Arc::ptr_eq(&self.pool_state.load(), unresponsive) {
            tracing::warn!("the database does not respond; replacing the connection pool");
            self.pool_state.compare_and_swap(unresponsive, Arc::new(PoolState::new(&self.pool_factory)));
        }
    }
}
