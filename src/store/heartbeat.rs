//! Heartbeats of a server on PostgreSQL. Each is a commit on a connection of its own; the lease
//! (`database_lease`) lasts from the moment at which an acknowledged one was sent.

use std::{
    cmp::Reverse,
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
        connection::{Conn, ServerConn},
        database_lease::{DatabaseLease, DatabaseLeaseError, Heartbeat, monotonic_now},
        dialect::server,
        error::{OpenError, StoreError},
        pool::ConnectionManager,
        settings::DatabaseUrl,
    },
};

/// How long to wait before the next attempt after a failure.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// How long a new connection may take. libpq gives up earlier, unless the name of the host has many
/// addresses.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);

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
        let supervisor = Supervisor {
            manager: Arc::new(manager),
            lease: Arc::clone(self.lease()),
            replica: replica.clone(),
            store,
            first: Some(first),
            is_failing: false,
        };
        self.lease().require();
        let spawned = thread::Builder::new().name("lease".to_owned()).spawn(move || supervisor.run());
        spawned.map_err(StoreError::unavailable)?;
        // A second call has no effect: its thread ends with `alive`.
        let _ = self.heartbeats.set(alive);
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

    /// Returns how long ago the last acknowledged heartbeat was sent. Absent without heartbeats.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        self.lease().age(monotonic_now())
    }
}

/// Starts a thread for each connection that sends heartbeats, and replaces one that does not
/// respond.
struct Supervisor {
    manager: Arc<ConnectionManager>,
    lease: Arc<DatabaseLease>,
    replica: ReplicaId,
    /// Disconnected when the last clone of the store is dropped.
    store: Receiver<Infallible>,
    /// Notified of the first acknowledged heartbeat.
    first: Option<Sender<()>>,
    is_failing: bool,
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
        let (sender, reports) = mpsc::channel();
        let (manager, replica, interval) = (Arc::clone(&self.manager), self.replica.clone(), self.lease.interval());
        let work = move || {
            if let Err(error) = send_heartbeats(&manager, &replica, interval, &sender) {
                let _ = sender.send(Err(error));
            }
        };
        Ok((thread::Builder::new().name("heartbeat".to_owned()).spawn(work)?, reports))
    }

    /// Records the heartbeats of a worker until it fails, does not respond, or the store is
    /// dropped.
    fn follow(&mut self, reports: &Reports) {
        let mut limit = CONNECTION_LIMIT;
        loop {
            match reports.recv_timeout(limit) {
                Ok(Ok(WorkerReport::Connected)) => {}
                Ok(Ok(WorkerReport::Acknowledged(heartbeat))) => self.record(heartbeat),
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

    fn record(&mut self, heartbeat: Heartbeat) {
        let server = heartbeat.server;
        if let Some(previous) = self.lease.record(heartbeat) {
            let number =
                |timeline: Option<u32>| timeline.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
            tracing::warn!(
                database_timeline = number(server.timeline),
                previous_timeline = number(previous.timeline),
                "the database server changed from {previous} to {server}; requests are answered 503 until the \
                 rollback check of the new server completes"
            );
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the database acknowledges heartbeats again");
        }
        if let Some(first) = self.first.take() {
            let _ = first.send(());
        }
    }

    /// Logs the first of several failures.
    fn report_failure(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                error,
                "failed to record a heartbeat in the database; will retry; requests are answered 503 after database.lease"
            );
        }
    }
}

/// Sends heartbeats on a new connection until one fails or the supervisor has dropped the receiver.
fn send_heartbeats(
    manager: &ConnectionManager,
    replica: &ReplicaId,
    interval: Duration,
    reports: &Sender<Result<WorkerReport, String>>,
) -> Result<(), String> {
    let (mut connection, url) = connect_to_primary(manager).map_err(|error| error.to_string())?;
    let server = connection.server();
    let (Conn::Postgres(inner), Some(server)) = (&mut *connection, server) else { return Ok(()) };
    let mut is_expected = reports.send(Ok(WorkerReport::Connected)).is_ok();
    while is_expected {
        let sent_at = monotonic_now();
        server::record_heartbeat(inner, replica.as_str()).map_err(|error| error.to_string())?;
        let heartbeat = Heartbeat { server, url: url.clone(), sent_at };
        is_expected = reports.send(Ok(WorkerReport::Acknowledged(heartbeat))).is_ok();
        thread::sleep(interval.saturating_sub(monotonic_now().saturating_sub(sent_at)));
    }
    Ok(())
}

/// Connects to each host of the configured URL, and returns the connection to the server with the
/// highest timeline: a former primary that was not stopped has a lower one. The hosts are asked at
/// the same time, because each that does not respond takes the whole connection timeout.
fn connect_to_primary(manager: &ConnectionManager) -> Result<(ServerConn, DatabaseUrl), OpenError> {
    let connect = |host: DatabaseUrl| manager.connect_to(&host).map(|connection| (connection, host));
    let results: Vec<_> = thread::scope(|scope| {
        let hosts = manager.url().split_hosts().into_iter();
        let asked: Vec<_> = hosts.map(|host| scope.spawn(move || connect(host))).collect();
        asked.into_iter().filter_map(|host| host.join().ok()).collect()
    });
    let (found, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let timeline = |connection: &ServerConn| connection.server().and_then(|server| server.timeline);
    let primary = found.into_iter().flatten().min_by_key(|(connection, _)| Reverse(timeline(connection)));
    primary.ok_or_else(|| failed.into_iter().find_map(Result::err).unwrap_or(OpenError::ReadOnly))
}
