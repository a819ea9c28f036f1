//! The end of a server: SIGTERM with a delay, SIGINT, and requests in flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use super::process::{Deployment, LONG, Process, Running, client, each, until};
use crate::support::{Kind, Raw};

/// The longest time for a stop that waits for nothing.
const SHORT: Duration = Duration::from_secs(5);

/// Waits until the process has ended, and asserts that it took at most `within`.
fn assert_ends_within(server: Running, within: Duration) {
    let started = Instant::now();
    let said = server.process.end(LONG);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(started.elapsed() < within, "{:?}: {}", started.elapsed(), said.err);
}

async fn until_logged(process: &Process, text: &str) {
    until(text, LONG, || async { process.log().contains(text) }).await;
}

/// Sends requests on new connections, each a while after the answer to the last one, as long as the
/// balancer finds the server ready. Returns how many.
async fn send_while_ready(base: String, key: String, is_ready: Arc<AtomicBool>) -> usize {
    let http = reqwest::Client::builder().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap();
    let mut sent = 0;
    while is_ready.load(Ordering::SeqCst) {
        let answer = http.post(format!("{base}/v1/exchange")).bearer_auth(&key).send().await;
        assert_eq!(answer.expect("a request was lost").status(), 200);
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sent
}

each! {
    async fn no_request_is_lost_while_the_server_drains(deployment: Deployment) {
        let server = deployment.with(&["server.drain_delay=20s"]).serve();
        let (_, key) = server.key(&deployment.admin()).await;
        let is_ready = Arc::new(AtomicBool::new(true));
        let load: Vec<_> =
            (0..4).map(|_| tokio::spawn(send_while_ready(server.base.clone(), key.clone(), is_ready.clone()))).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.process.signal(Signal::TERM);
        let signalled = Instant::now();
        // The load balancer.
        while server.get("/readyz").await.status() == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(signalled.elapsed() < SHORT, "readiness is false at once");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut new = Raw::open(&server.base);
        new.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = new.read_to_end().expect("the connection is closed after the answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
        let readiness: Value = server.get("/readyz").await.json().await.unwrap();
        assert!(readiness["ready"] == false && readiness["draining"] == true, "{readiness}");
        is_ready.store(false, Ordering::SeqCst);
        let mut sent = 0;
        for task in load {
            sent += task.await.unwrap();
        }
        assert!(sent > 20, "{sent}");
        let base = server.base.clone();
        server.process.signal(Signal::TERM);
        let said = server.process.end(LONG);
        assert!(said.code == Some(0) && said.err.contains("draining"), "{said:?}");
        assert!(client().get(base).send().await.is_err(), "the listener is closed");
    }

    async fn a_second_sigterm_or_sigint_ends_the_delay(deployment: Deployment) {
        for second in [Signal::TERM, Signal::INT] {
            let server = deployment.with(&["server.drain_delay=5m"]).serve();
            server.process.signal(Signal::TERM);
            until_logged(&server.process, "draining").await;
            server.process.signal(second);
            assert_ends_within(server, SHORT);
        }
        let server = deployment.with(&["server.drain_delay=5m"]).serve();
        server.process.signal(Signal::INT);
        assert_ends_within(server, SHORT);
    }

    async fn long_polls_end_when_the_server_stops(deployment: Deployment) {
        let admin = deployment.serve_once();
        for delay in ["0s", "1s"] {
            let server = deployment.with(&[&format!("server.drain_delay={delay}")]).serve();
            let poll = || server.http.get(server.url("/v1/events?after=1000000&wait=30s")).bearer_auth(&admin).send();
            let waiting = tokio::spawn(poll());
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(!waiting.is_finished());
            server.process.signal(Signal::TERM);
            let answer = waiting.await.unwrap().expect("it is answered");
            assert_eq!(answer.status(), 200, "{delay}");
            assert_eq!(answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 0);
            assert_ends_within(server, SHORT);
        }
    }

    async fn signals_without_a_meaning_do_not_end_the_server(deployment: Deployment) {
        let starting = deployment.start();
        // The first thing that the program does. A signal before it would end the process.
        until("SIGHUP is caught", LONG, || async { catches_sighup(starting.pid()) }).await;
        starting.signal(Signal::HUP);
        let server = starting.ready();
        until_logged(&server.process, "configuration reloaded").await;
        for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
            server.process.signal(signal);
            until_logged(&server.process, name).await;
        }
        assert!(server.knows(&deployment.admin()).await);
        server.stop();
    }
}

#[tokio::test]
async fn sigint_ends_a_stop_that_waits_for_the_database() {
    let deployment = Deployment::new(Kind::Sqlite).with(&["database.statement_timeout=30s"]);
    let server = deployment.serve();
    let (_, key) = server.key(&deployment.admin()).await;
    assert!(server.exchange_succeeds(&key).await);
    // The last-used time cannot be written.
    let held = deployment.database.hold_changes();
    server.process.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..2 {
        server.process.signal(Signal::INT);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let said = server.process.end(SHORT);
    assert!(said.code == Some(0) && said.err.contains("stopped by a signal before"), "{said:?}");
    held.release();
}

fn catches_sighup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
}

impl Deployment {
    /// Starts and stops a server, and returns the administrator's key.
    fn serve_once(&self) -> String {
        self.serve().stop();
        self.admin()
    }
}
