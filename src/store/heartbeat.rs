//! Heartbeats of a server on PostgreSQL. Each is a commit on a connection of its own; the lease
//! (`database_lease`) lasts from the moment at which an acknowledged one was sent.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    domain::common::id::ReplicaId,
    store::{
        Store,
        connection::Conn,
        database_lease::{DatabaseLease, DatabaseLeaseError, Heartbeat, monotonic_now},
        dialect::server,
        error::StoreError,
        pool::ConnectionManager,
        primary::PrimarySearch,
        settings::DatabaseUrl,
    },
};

/// How long to wait before the next attempt after a failure.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// How much longer the supervisor waits for a connection than the search for the primary.
const SEARCH_MARGIN: Duration = Duration::from_secs(1);

/// The maximum number of threads that send heartbeats. All but one wait for a connection that does
/// not respond; nothing but its end can wake them.
const MAX_WORKERS: usize = 8;

impl Store {
    /// Takes the lease on the database for the server `replica`. From then on, answers of the
    /// database are trusted only while the lease is held. SQLite needs none: its file is on this
    /// machine.
    pub async fn hold_lease(&self, replica: &ReplicaId) -> Result<(), StoreError> {
        let manager = self.pool_factory.connection_manager();
        if matches!(manager.url(), DatabaseUrl::Sqlite(_)) {
            return Ok(());
        }
        let (alive, store) = mpsc::channel();
        let (first, acknowledged) = mpsc::channel();
        let sender = HeartbeatSender {
            search: PrimarySearch::new(manager.url()),
            manager,
            replica: replica.clone(),
            interval: self.lease().interval(),
        };
        let running = Arc::new(());
        let is_running = Arc::downgrade(&running);
        let supervisor = Supervisor {
            _running: running,
            sender: Arc::new(sender),
            lease: Arc::clone(self.lease()),
            store,
            first: Some(first),
            failure: None,
        };
        self.lease().require();
        let spawned = thread::Builder::new().name("lease".to_owned()).spawn(move || supervisor.run());
        spawned.map_err(StoreError::unavailable)?;
        // A second call has no effect: its thread ends with `alive`.
        let _ = self.heartbeats.set((alive, is_running));
        let limit = self.operation_timeout;
        let waited = tokio::task::spawn_blocking(move || acknowledged.recv_timeout(limit)).await;
        waited.map_err(StoreError::unavailable)?.map_err(|_| {
            StoreError::unavailable(
                "it acknowledged no heartbeat in time; its commits may wait for a synchronous standby; start \
                 the standby, or run `keyswap doctor`",
            )
        })
    }

    /// Waits until the database server needs a rollback check.
    pub async fn wait_for_new_server(&self) {
        self.lease().wait_for_new_server().await;
    }

    /// Returns the generation of a database server that needs a rollback check.
    pub fn server_to_check(&self) -> Option<u64> {
        self.lease().server_to_check()
    }

    /// Records that the database server of `generation` has passed the rollback check.
    pub fn set_server_checked(&self, generation: u64) {
        self.lease().set_checked(generation);
    }

    /// Returns why the lease is not held, or `None` if it is held or not needed.
    pub fn lease_fault(&self) -> Option<DatabaseLeaseError> {
        self.lease().find_fault(monotonic_now())
    }

    /// Returns whether the thread that supervises the heartbeats has ended. It must not, while the
    /// store is in use.
    pub fn have_heartbeats_ended(&self) -> bool {
        self.heartbeats.get().is_some_and(|(_, running)| running.strong_count() == 0)
    }

    /// Returns how long ago the last acknowledged heartbeat was sent. Absent without heartbeats.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        self.lease().age(monotonic_now())
    }
}

/// Starts a thread for each connection that sends heartbeats, and replaces one that does not
/// respond.
struct Supervisor {
    /// Dropped when the thread ends, also by a panic.
    _running: Arc<()>,
    sender: Arc<HeartbeatSender>,
    lease: Arc<DatabaseLease>,
    /// Disconnected when the last clone of the store is dropped.
    store: Receiver<Infallible>,
    /// Notified of the first acknowledged heartbeat.
    first: Option<Sender<()>>,
    /// The last failure, until a heartbeat is acknowledged again.
    failure: Option<String>,
}

/// Sends heartbeats on one connection at a time.
struct HeartbeatSender {
    manager: ConnectionManager,
    search: PrimarySearch,
    replica: ReplicaId,
    interval: Duration,
}

/// What a worker reports.
enum WorkerReport {
    Connected,
    Acknowledged(Heartbeat),
}

type Reports = Receiver<Result<WorkerReport, String>>;

impl Supervisor {
    fn run(mut self) {
        let mut workers: Vec<JoinHandle<()>> = Vec::new();
        loop {
            workers.retain(|worker| !worker.is_finished());
            if workers.len() < MAX_WORKERS {
                match self.spawn_worker() {
                    Ok((worker, reports)) => {
                        workers.push(worker);
                        self.follow(&reports);
                    }
                    Err(error) => self.report_failure(&error.to_string()),
                }
            }
            if matches!(self.store.recv_timeout(RETRY_DELAY), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
        }
    }

    fn spawn_worker(&self) -> std::io::Result<(JoinHandle<()>, Reports)> {
        let (report, reports) = mpsc::channel();
        let sender = Arc::clone(&self.sender);
        let work = move || {
            if let Err(error) = sender.run(&report) {
                let _ = report.send(Err(error));
            }
        };
        Ok((thread::Builder::new().name("heartbeat".to_owned()).spawn(work)?, reports))
    }

    /// Records the heartbeats of a worker until it fails, does not respond, or the store is
    /// dropped.
    fn follow(&mut self, reports: &Reports) {
        let mut limit = self.sender.manager.connection_limit() + SEARCH_MARGIN;
        loop {
            match reports.recv_timeout(limit) {
                Ok(Ok(WorkerReport::Connected)) => {}
                Ok(Ok(WorkerReport::Acknowledged(heartbeat))) => {
                    if let Err(replaced) = self.record(heartbeat) {
                        return self.report_failure(&replaced.to_string());
                    }
                }
                Ok(Err(error)) => return self.report_failure(&error),
                Err(RecvTimeoutError::Timeout) => {
                    return self.report_failure("the database does not respond; replacing the connection");
                }
                Err(RecvTimeoutError::Disconnected) => return self.report_failure("the heartbeat thread ended"),
            }
            if matches!(self.store.try_recv(), Err(TryRecvError::Disconnected)) {
                return;
            }
            limit = self.lease.interval() + self.lease.duration();
        }
    }

    fn record(&mut self, heartbeat: Heartbeat) -> Result<(), DatabaseLeaseError> {
        let server = heartbeat.server;
        if let Some(previous) = self.lease.record(heartbeat)? {
            let number =
                |timeline: Option<u32>| timeline.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
            tracing::warn!(
                database_timeline = number(server.timeline),
                previous_timeline = number(previous.timeline),
                "the database server changed from {previous} to {server}; requests are answered 503 until the \
                 rollback check of the new server completes"
            );
        }
        if self.failure.take().is_some() {
            tracing::info!("the database acknowledges heartbeats again");
        }
        if let Some(first) = self.first.take() {
            let _ = first.send(());
        }
        Ok(())
    }

    /// Logs a failure, unless it is the same as the last one.
    fn report_failure(&mut self, error: &str) {
        if self.failure.as_deref() != Some(error) {
            tracing::warn!(
                error,
                "failed to record a heartbeat in the database; will retry; requests are answered 503 after database.lease"
            );
            self.failure = Some(error.to_owned());
        }
    }
}

impl HeartbeatSender {
    /// Sends heartbeats on a new connection until one fails or the supervisor has dropped the
    /// receiver.
    fn run(&self, reports: &Sender<Result<WorkerReport, String>>) -> Result<(), String> {
        let manager = self.manager.clone();
        let found = self.search.connect(manager.connection_limit(), move |url| manager.connect_to(url));
        let (mut connection, url) = found.map_err(|error| error.to_string())?;
        let server = connection.server();
        let (Conn::Postgres(inner), Some(server)) = (&mut *connection, server) else { return Ok(()) };
        let mut is_expected = reports.send(Ok(WorkerReport::Connected)).is_ok();
        let mut is_first = true;
        while is_expected {
            let sent_at = monotonic_now();
            server::record_heartbeat(inner, self.replica.as_str()).map_err(|error| error.to_string())?;
            let heartbeat = Heartbeat { server, url: url.clone(), sent_at, is_first };
            is_first = false;
            is_expected = reports.send(Ok(WorkerReport::Acknowledged(heartbeat))).is_ok();
            thread::sleep(self.interval.saturating_sub(monotonic_now().saturating_sub(sent_at)));
        }
        Ok(())
    }
}
