//! Persistence layer. This is the only module that depends on Diesel. Most submodules cover one
//! table. `dialect` contains the hand-written SQL, including the statements that differ between
//! PostgreSQL and SQLite.

pub mod access_records;
pub mod api_keys;
pub mod audiences;
pub mod branding;
pub mod census;
mod change;
mod connection;
pub mod credential_uses;
pub mod departures;
mod dialect;
mod error;
pub mod events;
pub mod exchange_counts;
pub mod facts;
mod gather;
pub mod idempotency;
pub mod key_standings;
pub mod key_usage;
pub mod key_windows;
pub mod leftovers;
pub mod master_keys;
pub mod members;
pub mod migrate;
pub mod notices;
pub mod organizations;
pub mod permissions;
pub mod portal_sessions;
pub mod replicas;
pub mod revoked_tokens;
pub mod roles;
pub mod rotation_clock;
mod schema;
pub mod sealed;
pub mod service_clients;
pub mod signing_key_tokens;
pub mod signing_keys;
pub mod status_lists;
pub mod status_marks;
pub mod status_tokens;
pub mod users;
pub mod validation;
pub mod webhook_deliveries;
pub mod webhooks;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::domain::{
    audience::Identifier,
    entropy::Entropy,
    event::{Digest, Origin},
    id::CredentialId,
    time::Timestamp,
};

pub use change::{Outcome, Tx, now};
pub use connection::{
    Clock, Conn, DatabaseSettings, DatabaseUrl, IfMissing, SqliteSettings, SystemClock, sqlite_settings,
};
pub use dialect::{durability_faults, lock, try_lock};
pub use error::{OpenError, StoreError};
use gather::Gather;
pub use gather::{Found, Wants};

/// A handle to the database. Clones share the connection pool.
#[derive(Clone)]
pub struct Store {
    line: Arc<ArcSwap<Line>>,
    make: connection::MakePool,
    /// Limits the operations that wait for or use a connection. When no permit is left, an
    /// operation fails with `Unavailable` immediately. Lookups have a limit of their own.
    queue: Arc<Semaphore>,
    wait: Duration,
    /// The longest time that an operation with a permit, or a lookup, may take.
    patience: Duration,
    entropy: Arc<dyn Entropy>,
    digest: Digest,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The maximum number of operations that wait for or use a connection.
const MAX_QUEUE: usize = 4096;

impl Store {
    /// Opens the database. Migrations are run separately, by `migrate`.
    pub fn open(
        settings: &DatabaseSettings,
        if_missing: IfMissing,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        digest: Digest,
    ) -> Result<Self, OpenError> {
        let make = connection::open(settings, if_missing, clock)?;
        Ok(Self {
            line: Arc::new(ArcSwap::from_pointee(Line::new(&make))),
            make,
            queue: Arc::new(Semaphore::new(MAX_QUEUE)),
            wait: settings.connect_timeout,
            patience: settings.connect_timeout + settings.statement_timeout,
            entropy,
            digest,
        })
    }

    /// Runs the pending migrations and returns their versions.
    pub fn migrate(&self) -> Result<Vec<String>, OpenError> {
        migrate::run(&mut self.connection_now()?)
    }

    pub fn migration_status(&self) -> Result<migrate::MigrationStatus, OpenError> {
        migrate::status(&mut self.connection_now()?)
    }

    fn connection_now(&self) -> Result<connection::Pooled, OpenError> {
        self.line.load().pool.get().map_err(|error| OpenError::Migration(error.to_string()))
    }

    /// Runs `body` with a pooled connection on a blocking thread. `body` only reads; no transaction
    /// is started for it.
    pub async fn read<T, E>(&self, body: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.blocking(move |_, connection| body(connection)).await
    }

    /// Loads a credential and the existing audiences among `targets`, in the detail that `wants`
    /// selects. The data is read after this call begins. The batch loader combines concurrent calls
    /// into one query.
    pub async fn look_up(
        &self,
        credential: &CredentialId,
        targets: &BTreeSet<Identifier>,
        wants: Wants,
    ) -> Result<Option<Found>, StoreError> {
        let line = self.line.load_full();
        let busy = || StoreError::Unavailable("too many requests wait for it".to_owned());
        let asked = gather::ask(&line, *credential, targets.clone(), wants).ok_or_else(busy)?;
        match timeout(self.patience, asked.answer()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(StoreError::Unavailable("a look-up was given up".to_owned())),
            Err(_) => {
                // One unresponsive connection suffices, because all lookups wait for it.
                if line.is_silent(self.patience) || line.is_silent_since(&line.gathered_at, self.patience) {
                    self.renew(&line);
                }
                Err(StoreError::Unavailable("it does not answer".to_owned()))
            }
        }
    }

    /// Stops the batch loader and releases its connections, so that dropping the store closes every
    /// connection. This is the last call on a store.
    pub async fn close(&self) {
        self.line.load_full().gather.close().await;
    }

    /// Runs `body` in a write transaction. This is the only way to write. The rows that `body`
    /// writes and the events it returns commit together or not at all. When this function returns
    /// `Ok`, the commit is durable on disk (invariant 3).
    ///
    /// If the operation times out after it has started, or the connection is lost during the
    /// commit, the outcome is unknown, because the transaction may still commit. Clients send an
    /// `Idempotency-Key` so that a retry is safe. After any other error nothing has changed.
    pub async fn change<T, E>(
        &self,
        origin: Origin,
        body: impl FnOnce(&mut Tx<'_>) -> Result<Outcome<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.blocking(move |store, connection| {
            change::run(connection, store.entropy.as_ref(), store.digest, &origin, body)
        })
        .await
    }

    /// Returns the current time of the database.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read(change::now).await
    }

    async fn blocking<T, E>(&self, body: impl FnOnce(&Self, &mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let unavailable = |what: &str| E::from(StoreError::Unavailable(what.to_owned()));
        let _queued = self.queue.try_acquire().map_err(|_| unavailable("too many requests wait for it"))?;
        let line = self.line.load_full();
        let Ok(permit) = timeout(self.wait, Arc::clone(&line.permits).acquire_owned()).await else {
            if line.is_silent(self.patience) {
                self.renew(&line);
            }
            return Err(unavailable("no connection was free in time"));
        };
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let (store, taken) = (self.clone(), Arc::clone(&line));
        let work = tokio::task::spawn_blocking(move || {
            let connection = taken.pool.get();
            // A connection error is also a response. The pool is replaced only if there is no
            // response.
            taken.answered();
            let mut connection = connection.map_err(|error| E::from(StoreError::Unavailable(error.to_string())))?;
            let result = body(&store, &mut connection);
            taken.answered();
            drop(permit);
            result
        });
        // This timeout covers a database host or network that accepts data and never responds. The
        // database's own timeouts have no effect then.
        let Ok(done) = timeout(self.patience, work).await else {
            if line.is_silent(self.patience) {
                self.renew(&line);
            }
            return Err(unavailable("it does not answer"));
        };
        done.map_err(|error| unavailable(&error.to_string()))?
    }

    /// Replaces the pool. The unresponsive connections stay with the threads that are blocked on
    /// them.
    fn renew(&self, silent: &Arc<Line>) {
        if Arc::ptr_eq(&self.line.load(), silent) {
            tracing::warn!("the database has fallen silent: its connections are given up for new ones");
            self.line.compare_and_swap(silent, Arc::new(Line::new(&self.make)));
        }
    }
}

/// A connection pool with the operations that wait for it and the batch loader that uses it.
struct Line {
    pool: connection::Pool,
    /// One permit per connection, not counting the connections of the batch loader. An operation
    /// waits here without occupying a thread.
    permits: Arc<Semaphore>,
    gather: Gather,
    made_at: Instant,
    /// When an operation, a batch of lookups or a connection attempt last completed, in
    /// milliseconds since `made_at`.
    answered_at: AtomicU64,
    /// When a batch of lookups last completed, in milliseconds since `made_at`.
    gathered_at: AtomicU64,
}

impl Line {
    fn new(make: &connection::MakePool) -> Self {
        let pool = make.pool();
        let permits = Arc::new(Semaphore::new(make.permits()));
        Self {
            pool,
            permits,
            gather: Gather::default(),
            made_at: Instant::now(),
            answered_at: AtomicU64::new(0),
            gathered_at: AtomicU64::new(0),
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn answered(&self) {
        self.answered_at.store(self.age(), Ordering::Relaxed);
    }

    fn gathered(&self) {
        self.gathered_at.store(self.age(), Ordering::Relaxed);
    }

    /// Returns whether no operation has completed for longer than `patience`. Callers ask only
    /// after one of their waits has timed out.
    fn is_silent(&self, patience: Duration) -> bool {
        self.is_silent_since(&self.answered_at, patience)
    }

    fn is_silent_since(&self, last: &AtomicU64, patience: Duration) -> bool {
        u128::from(self.age().saturating_sub(last.load(Ordering::Relaxed))) > patience.as_millis()
    }
}
