//! Requests that are lost while servers restart, reload and drain: none. A failover of the database
//! is counted by `faults::failover`.

mod balancer;

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    cluster::on_free_port,
    process::{Deployment, Running, each},
};
use crate::support::{Kind, panics};
use balancer::{Balancer, Load, Tally};

/// How many rounds of one restart, one drain and reloads of both servers there are in `scripts/test`
/// and in `scripts/prove failover`.
const SAMPLE: usize = 1;
const FULL: usize = 10;
const RELOADS: usize = 3;
/// Longer than the balancer needs to notice that a server is not ready.
const DRAIN: &str = "server.drain_delay=1s";

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
    ports: [u16; 2],
    running: [Option<Running>; 2],
}

impl Servers {
    fn start(deployment: &Deployment) -> Self {
        let deployment =
            deployment.with(&["brute_force.per_source=1000000", "brute_force.per_credential=1000000", DRAIN]);
        let started = [(); 2].map(|()| {
            on_free_port(|port| {
                let settled = deployment.with(&[&bind(port)]).start().settle();
                settled.map_err(|said| {
                    assert!(said.err.contains("failed to listen on"), "{said:?}");
                    said.err
                })
            })
        });
        let ports = [started[0].0, started[1].0];
        Self { deployment, ports, running: started.map(|(_, server)| Some(server)) }
    }

    fn running(&self, number: usize) -> &Running {
        self.running[number].as_ref().unwrap()
    }

    /// Sends SIGTERM and waits for the exit.
    fn stop(&mut self, number: usize) {
        self.running[number].take().unwrap().stop();
    }

    /// Starts a server again on its port.
    fn start_again(&mut self, number: usize) {
        self.running[number] = Some(self.deployment.with(&[&bind(self.ports[number])]).serve());
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
        let (number, restarted) = (turn % 2, (turn / 2) % 2);
        if number == restarted {
            // A proxy such as nginx tries the other server once after a connection error.
            let load = Load::start(&balancer, &key, 1).await;
            servers.stop(number);
            servers.start_again(number);
            restarts.add(load.stop().await);
        } else {
            // Without a second try, the client depends on readiness alone.
            let load = Load::start(&balancer, &key, 0).await;
            servers.stop(number);
            sleep(Duration::from_millis(500)).await;
            drains.add(load.stop().await);
            servers.start_again(number);
        }
        let load = Load::start(&balancer, &key, 0).await;
        for _ in 0..RELOADS {
            servers.running(number).process.signal(Signal::HUP);
            sleep(Duration::from_millis(200)).await;
        }
        reloads.add(load.stop().await);
    }
    balancer.stop().await;
    for (what, tally) in [("restart", restarts), ("drain", drains), ("reload", reloads)] {
        eprintln!("{:?}, {what}: {tally:?}", servers.deployment.database.kind);
        assert!(tally.requests > 0 && tally.lost == 0, "{what}: {tally:?}");
    }
    for number in 0..2 {
        servers.stop(number);
    }
}
