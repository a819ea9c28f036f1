//! Requests that are lost while servers restart, reload and drain: none. A failover of the database
//! is counted by `faults::failover`.

mod balancer;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    cluster::on_free_port,
    process::{Deployment, LONG, Process, Running, each, until},
};
use crate::support::{Kind, panics};
use balancer::{Balancer, Load, Tally};

/// How many rounds of one restart, one drain and reloads of both servers there are in `scripts/test`
/// and in `scripts/prove failover`.
const SAMPLE: usize = 1;
const FULL: usize = 10;
const RELOADS: usize = 3;
/// The configurations that are reloaded in turn.
const CONFIGURATIONS: [&str; 2] = [
    "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[limits]\nkeys_per_owner = 500\n[log]\nlevel = \"debug\"\n",
    "[server]\ntrusted_proxies = []\n[limits]\nkeys_per_owner = 400\n[log]\nlevel = \"info\"\n",
];

/// How a server ends.
#[derive(Clone, Copy)]
enum End {
    Restart,
    Drain,
}

impl End {
    /// A drain lasts longer than the balancer needs to notice that a server is not ready.
    const fn delay(self) -> &'static str {
        match self {
            Self::Restart => "server.drain_delay=0s",
            Self::Drain => "server.drain_delay=3s",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Restart => Self::Drain,
            Self::Drain => Self::Restart,
        }
    }
}

each! {
    async fn no_request_is_lost_in_restarts_reloads_and_drains(deployment: Deployment) {
        assert_no_request_lost(&deployment, SAMPLE).await;
    }
}

fn run_rounds(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(assert_no_request_lost(&Deployment::new(kind), FULL));
    panics::assert_none();
}

#[test]
#[ignore = "takes minutes: scripts/prove failover"]
fn no_request_is_lost_in_ten_restarts_sqlite() {
    run_rounds(Kind::Sqlite);
}

#[test]
#[ignore = "takes minutes: scripts/prove failover"]
fn no_request_is_lost_in_ten_restarts_postgres() {
    run_rounds(Kind::Postgres);
}

/// Two servers behind the balancer.
struct Servers {
    deployment: Deployment,
    /// The configuration of both.
    file: PathBuf,
    ports: [u16; 2],
    ends: [End; 2],
    running: [Option<Running>; 2],
}

impl Servers {
    fn start(deployment: &Deployment) -> Self {
        let deployment = deployment.with(&["brute_force.per_source=1000000", "brute_force.per_credential=1000000"]);
        let file = deployment.database.dir.path().join("keyswap.toml");
        fs::write(&file, CONFIGURATIONS[1]).unwrap();
        let mut servers =
            Self { deployment, file, ports: [0; 2], ends: [End::Restart, End::Drain], running: [None, None] };
        for number in 0..2 {
            let (port, server) = on_free_port(|port| {
                let settled = servers.spawn(port, servers.ends[number]).settle();
                settled.map_err(|said| {
                    assert!(said.err.contains("failed to listen on"), "{said:?}");
                    said.err
                })
            });
            servers.ports[number] = port;
            servers.running[number] = Some(server);
        }
        servers
    }

    fn spawn(&self, port: u16, end: End) -> Process {
        let deployment = self.deployment.with(&[&bind(port), end.delay()]);
        Process::spawn(deployment.command(&["serve", "--config", self.file.to_str().unwrap()]))
    }

    fn running(&self, number: usize) -> &Running {
        self.running[number].as_ref().unwrap()
    }

    /// Sends SIGTERM and waits for the exit.
    fn stop(&mut self, number: usize) {
        self.running[number].take().unwrap().stop();
    }

    /// Starts a server again on its port. Next, it ends in the other way.
    fn start_again(&mut self, number: usize) {
        self.ends[number] = self.ends[number].other();
        self.running[number] = Some(self.spawn(self.ports[number], self.ends[number]).ready());
    }

    /// Reloads another configuration. The other server notices the change of the file.
    fn reload(&self, number: usize, turn: usize) {
        fs::write(&self.file, CONFIGURATIONS[turn % 2]).unwrap();
        self.running(number).process.signal(Signal::HUP);
    }
}

fn bind(port: u16) -> String {
    format!("server.bind=127.0.0.1:{port}")
}

async fn assert_no_request_lost(deployment: &Deployment, rounds: usize) {
    let mut servers = Servers::start(deployment);
    let admin = servers.deployment.admin();
    let (_, key) = servers.running(0).key(&admin).await;
    let balancer = Arc::new(Balancer::new([0, 1].map(|number| servers.running(number).base.clone())));
    let (mut restarts, mut reloads, mut drains) = (Tally::default(), Tally::default(), Tally::default());
    for turn in 0..2 * rounds {
        // Each server is restarted in one round and drained in the next one.
        let number = turn % 2;
        match servers.ends[number] {
            End::Restart => {
                // A proxy such as nginx tries the other server once after a connection error.
                let load = Load::start(&balancer, &key, 1).await;
                servers.stop(number);
                servers.start_again(number);
                restarts.add(load.stop().await);
            }
            End::Drain => {
                // Without a second try, the client depends on readiness alone.
                let load = Load::start(&balancer, &key, 0).await;
                servers.stop(number);
                sleep(Duration::from_millis(500)).await;
                drains.add(load.stop().await);
                servers.start_again(number);
            }
        }
        let load = Load::start(&balancer, &key, 0).await;
        for turn in 0..RELOADS {
            servers.reload(number, turn);
            sleep(Duration::from_millis(200)).await;
        }
        reloads.add(load.stop().await);
        let process = &servers.running(number).process;
        for text in ["configuration reloaded", "server.trusted_proxies", "limits.keys_per_owner", "log.level"] {
            until(text, LONG, || async { process.log().contains(text) }).await;
        }
    }
    balancer.stop().await;
    for (what, tally) in [("restart", restarts), ("drain", drains), ("reload", reloads)] {
        eprintln!("{:?}, {what}: {tally:?}", servers.deployment.database.kind);
        assert!(tally.requests > 0 && tally.lost == 0, "{what}: {tally:?}");
    }
    for server in servers.running.into_iter().flatten() {
        server.process.signal(Signal::INT);
        assert_eq!(server.process.end(LONG).code, Some(0));
    }
}
