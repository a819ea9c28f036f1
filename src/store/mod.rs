//! The database: the only room that names Diesel. One file a table; what differs between the two databases is in `dialect`.

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

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    line: Arc<ArcSwap<Line>>,
    make: connection::MakePool,
    /// How many may wait for a permit before the answer is 503 at once.
    queue: Arc<Semaphore>,
    wait: Duration,
    /// How long work may take once it has its turn.
    patience: Duration,
    entropy: Arc<dyn Entropy>,
    digest: Digest,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The most requests that wait for the database at once.
const MAX_QUEUE: usize = 4096;

impl Store {
    /// Opens the database; migrations are for `migrate` or `prepare`.
    ///
    /// # Errors
    /// It cannot be reached, may not be made, or is too old.
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

    /// Runs the migrations that have not run yet, and says which.
    ///
    /// # Errors
    /// One fails, or the database is newer than this program.
    pub fn migrate(&self) -> Result<Vec<String>, OpenError> {
        migrate::run(&mut self.connection_now()?)
    }

    /// # Errors
    /// The database does not answer, or is newer than this program.
    pub fn migration_status(&self) -> Result<migrate::MigrationStatus, OpenError> {
        migrate::status(&mut self.connection_now()?)
    }

    fn connection_now(&self) -> Result<connection::Pooled, OpenError> {
        self.line.load().pool.get().map_err(|error| OpenError::Migration(error.to_string()))
    }

    /// Reads. The closure runs on a thread that may block.
    ///
    /// # Errors
    /// The database does not answer in time, or what the closure says.
    pub async fn read<T, E>(&self, body: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.blocking(move |_, connection| body(connection)).await
    }

    /// What `wants` says of a credential, and those of `targets` that exist, as they stand after this was called: asked together with all that
    /// others ask for at the same time.
    ///
    /// # Errors
    /// The database does not answer in time, or too many wait for it.
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
                // One connection that has fallen silent is enough: it is the one that all look-ups wait for.
                if line.is_silent(self.patience) || line.is_silent_since(&line.gathered_at, self.patience) {
                    self.renew(&line);
                }
                Err(StoreError::Unavailable("it does not answer".to_owned()))
            }
        }
    }

    /// Gives back what is kept for look-ups to come: the last of all, so that every connection is closed when the store is dropped.
    pub async fn close(&self) {
        self.line.load_full().gather.close().await;
    }

    /// Changes something: the only way to write. What the closure returns becomes durable together with its events, or nothing
    /// of it does. Success means that the database has committed to disk (design rule 3).
    ///
    /// # Errors
    /// The database does not answer in time, or what the closure says; nothing has changed then, unless the connection was lost
    /// or fell silent during the commit, which nobody can know: callers send an `Idempotency-Key`.
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

    /// The database's clock.
    ///
    /// # Errors
    /// The database does not answer in time.
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
            // "No" is an answer too: only silence costs the pool.
            taken.answered();
            let mut connection = connection.map_err(|error| E::from(StoreError::Unavailable(error.to_string())))?;
            let result = body(&store, &mut connection);
            taken.answered();
            drop(permit);
            result
        });
        // No timeout of the database's own helps when its machine or the network between takes what is sent and stays silent.
        let Ok(done) = timeout(self.patience, work).await else {
            if line.is_silent(self.patience) {
                self.renew(&line);
            }
            return Err(unavailable("it does not answer"));
        };
        done.map_err(|error| unavailable(&error.to_string()))?
    }

    /// Leaves connections that have fallen silent to the threads that hang on them, and begins with new ones.
    fn renew(&self, silent: &Arc<Line>) {
        if Arc::ptr_eq(&self.line.load(), silent) {
            tracing::warn!("the database has fallen silent: its connections are given up for new ones");
            self.line.compare_and_swap(silent, Arc::new(Line::new(&self.make)));
        }
    }
}

/// A pool, and those who wait for it.
struct Line {
    pool: connection::Pool,
    /// As many permits as connections, but for those of look-ups: who waits, waits here without a thread.
    permits: Arc<Semaphore>,
    gather: Gather,
    made_at: Instant,
    /// When work last ended, in milliseconds since it was made.
    answered_at: AtomicU64,
    /// The same of look-ups.
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

    /// Whether nothing has ended for so long, though every connection is taken.
    fn is_silent(&self, patience: Duration) -> bool {
        self.is_silent_since(&self.answered_at, patience)
    }

    fn is_silent_since(&self, last: &AtomicU64, patience: Duration) -> bool {
        u128::from(self.age().saturating_sub(last.load(Ordering::Relaxed))) > patience.as_millis()
    }
}
