//! Two PostgreSQL servers with streaming replication, two Keyswap processes with the URL of both,
//! and failures of the primary.

mod lost_commit;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    link::Cut,
    load::{Figures, LEASE, Load, RoundTimes},
    network::Network,
    network_namespaces::Namespaces,
    server::PostgresServer,
};
use crate::{
    faults::process::{Deployment, LONG, Process, Running, until},
    support::Kind,
};

/// The bound applies to a release build without other load, as in `faults::outage`.
const HEALTHY_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 10 });
/// How long requests continue after the revocation, with whatever is left of the old primary.
const AFTERWARDS: Duration = Duration::from_secs(2);
const SETTINGS: [&str; 5] = [
    "database.lease=2s",
    "database.connect_timeout=2s",
    "database.statement_timeout=1s",
    "brute_force.per_source=1000000",
    "brute_force.per_credential=1000000",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// A commit is acknowledged when the standby has it.
    Synchronous,
    Asynchronous,
}

/// What happens to the primary before the standby is promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryFailure {
    Kill,
    /// All its processes stop, and continue after the promotion.
    Freeze,
    /// It becomes read-only, and only process 0 reaches it. That process reaches nothing else.
    ReadOnly,
    /// Only process 0 reaches it. That process reaches nothing else.
    Partition,
    /// The same, but the old primary still receives what the others send.
    OneWayPartition,
}

impl PrimaryFailure {
    const fn isolates(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Partition | Self::OneWayPartition)
    }
}

/// Fields are dropped in this order: the processes of a namespace end before it does.
pub struct Pair {
    processes: [Running; 2],
    admin: String,
    servers: [PostgresServer; 2],
    network: Network,
    primary: usize,
    replication: Replication,
    _deployment: Deployment,
}

impl Pair {
    pub fn start(replication: Replication, namespaces: Option<Namespaces>) -> Self {
        let (network, servers) = Network::start_servers(namespaces);
        // The keys are in the directory of an unused SQLite database.
        let deployment = Deployment::new(Kind::Sqlite).with(&SETTINGS);
        set_replication(&servers[0], replication);
        let processes = [0, 1].map(|process| {
            let (namespace, address) = network.process(process);
            // Processes on two machines do not share a rollback guard.
            let guard = deployment.database.dir.path().join(format!("guard-{process}"));
            let deployment = deployment.with(&[
                &format!("database.url={}", network.database_url(process, &servers)),
                &format!("keys.rollback_guard={}", guard.display()),
                &format!("server.bind={address}:0"),
            ]);
            start_process(&deployment, namespace)
        });
        let admin = deployment.admin();
        Self { processes, admin, servers, network, primary: 0, replication, _deployment: deployment }
    }

    /// One failover. Afterwards the former standby is the primary, and the former primary its
    /// standby.
    pub async fn run_round(&mut self, failure: PrimaryFailure) {
        let (old, new) = (self.primary, 1 - self.primary);
        let (_, valid) = self.processes[1].key(&self.admin).await;
        let (id, revoked) = self.processes[1].key(&self.admin).await;
        // The standby has both keys, also without synchronous replication.
        let position = self.servers[old].ask("pg_current_wal_flush_lsn()");
        self.servers[new].wait_for(&format!("pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"));
        let load = Load::start(&self.processes, &self.admin, &valid, &revoked);
        sleep(Duration::from_millis(500)).await;

        self.cause(failure, old);
        let failed_at = Instant::now();
        // A promotion that is earlier than the end of the lease is a fault of the configuration.
        // Patroni waits for its `ttl`, 30 s by default.
        sleep(LEASE).await;
        self.servers[new].promote();
        let promoted = Instant::now();
        let mut healthy = [None; 2];
        healthy[1] = Some(self.wait_until_healthy(1, &valid, promoted).await);
        if !failure.isolates() {
            healthy[0] = Some(self.wait_until_healthy(0, &valid, promoted).await);
        }
        let revoke_sent = Instant::now();
        let path = format!("/v1/api-keys/{id}/revoke");
        let revokes = || async { self.processes[1].call(&self.admin, "POST", &path, None).await.status() == 200 };
        until("the new primary acknowledges the revocation", HEALTHY_WITHIN, revokes).await;
        let revoked_at = Instant::now();
        if failure == PrimaryFailure::Freeze {
            self.servers[old].thaw();
        }
        for _ in 0..2 {
            if failure.isolates() {
                assert_eq!(self.processes[0].get("/readyz").await.status(), 503, "process 0 has no primary");
            }
            sleep(AFTERWARDS / 2).await;
        }

        let end = Instant::now();
        if failure != PrimaryFailure::Kill {
            self.servers[old].stop();
        }
        let stopped = Instant::now();
        self.network.restore();
        let restored = self.wait_until_healthy(0, &valid, stopped).await;
        healthy[0] = healthy[0].or(Some(restored));
        let times = RoundTimes {
            failed: failed_at,
            revoke_sent,
            revoked: revoked_at,
            without_primary_until: failure.isolates().then_some(end),
        };
        let figures = load.check(&times).await;
        self.report(failure, &figures, healthy);
        self.rebuild(old).await;
    }

    fn cause(&self, failure: PrimaryFailure, old: usize) {
        match failure {
            PrimaryFailure::Kill => self.servers[old].stop(),
            PrimaryFailure::Freeze => self.servers[old].freeze(),
            PrimaryFailure::ReadOnly => {
                self.servers[old].set("default_transaction_read_only", "on");
                self.network.isolate(old, Cut::Both);
            }
            PrimaryFailure::Partition => self.network.isolate(old, Cut::Both),
            PrimaryFailure::OneWayPartition => self.network.isolate(old, Cut::FromServer),
        }
    }

    /// Waits until a process is ready and exchanges a key. Returns the time since `since`.
    async fn wait_until_healthy(&self, process: usize, key: &str, since: Instant) -> Duration {
        let server = &self.processes[process];
        let is_healthy =
            || async { server.get("/readyz").await.status() == 200 && server.exchange_succeeds(key).await };
        let left = HEALTHY_WITHIN.saturating_sub(since.elapsed());
        until(&format!("process {process} is healthy"), left, is_healthy).await;
        since.elapsed()
    }

    fn report(&self, failure: PrimaryFailure, figures: &Figures, healthy: [Option<Duration>; 2]) {
        let Figures { requests, lost } = figures;
        let seconds = healthy.map(|time| time.map_or(0.0, |time| time.as_secs_f64()));
        eprintln!(
            "{:?}, {failure:?}: {requests} requests, {lost} exchanges of a valid key answered 503, healthy {:.1} s and {:.1} s after the promotion or the end of the partition",
            self.replication, seconds[0], seconds[1]
        );
    }

    /// Makes the former primary the standby of the new one.
    async fn rebuild(&mut self, old: usize) {
        let [first, second] = &mut self.servers;
        let (standby, primary) = if old == 0 { (first, &*second) } else { (second, &*first) };
        let (host, port) = self.network.replication_address(primary, 1 - old);
        standby.follow(primary, (host.as_str(), port));
        set_replication(primary, self.replication);
        self.primary = 1 - old;
        let is_ready = || async {
            self.processes[0].get("/readyz").await.status() == 200
                && self.processes[1].get("/readyz").await.status() == 200
        };
        until("both processes are ready", LONG, is_ready).await;
    }

    pub fn stop(self) {
        for process in self.processes {
            process.stop();
        }
    }
}

/// Waits for the standby, and requires its acknowledgment if replication is synchronous.
fn set_replication(primary: &PostgresServer, replication: Replication) {
    let standbys = "SELECT COUNT(*) FROM pg_stat_replication WHERE state = 'streaming'";
    primary.wait_for(&format!("({standbys}) = 1"));
    if replication == Replication::Synchronous {
        primary.set("synchronous_standby_names", "standby");
        primary.wait_for(&format!("({standbys} AND sync_state = 'sync') = 1"));
    }
}

fn start_process(deployment: &Deployment, namespace: Option<String>) -> Running {
    let command = deployment.command(&["serve"]);
    let Some(namespace) = namespace else { return Process::spawn(command).ready() };
    // nsenter becomes the program, so that signals reach it.
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net=/run/netns/{namespace}")).arg(command.get_program()).args(command.get_args());
    inside.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::spawn(inside).ready()
}
