//! A load balancer with health checks in front of two servers, and clients that send at a constant
//! rate through it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Client;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::faults::process::{LONG, client, until};

/// How often readiness is checked.
const HEALTH_CHECK: Duration = Duration::from_millis(100);
const CLIENTS: usize = 4;
/// The time between two requests of a client: 100 requests per second together.
const PACE: Duration = Duration::from_millis(40);

pub struct Balancer {
    backends: [Arc<Backend>; 2],
    next: AtomicUsize,
    http: Client,
    checks: Mutex<Vec<JoinHandle<()>>>,
    is_stopped: Arc<AtomicBool>,
}

struct Backend {
    base: String,
    is_ready: AtomicBool,
}

/// The counts of one phase.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub requests: usize,
    /// Requests whose first try got no answer, or 503.
    pub retried: usize,
    pub lost: usize,
    pub slowest: Duration,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.retried += other.retried;
        self.lost += other.lost;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl Balancer {
    pub fn new(bases: [String; 2]) -> Self {
        let backends = bases.map(|base| Arc::new(Backend { base, is_ready: AtomicBool::new(false) }));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let checks = backends.each_ref().map(|backend| {
            let (backend, is_stopped) = (Arc::clone(backend), Arc::clone(&is_stopped));
            tokio::spawn(async move {
                let http = client();
                while !is_stopped.load(Ordering::SeqCst) {
                    let readiness = http.get(format!("{}/readyz", backend.base)).send().await;
                    backend.is_ready.store(readiness.is_ok_and(|answer| answer.status() == 200), Ordering::SeqCst);
                    sleep(HEALTH_CHECK).await;
                }
            })
        });
        Self { backends, next: AtomicUsize::new(0), http: client(), checks: Mutex::new(checks.into()), is_stopped }
    }

    pub async fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        let checks = std::mem::take(&mut *self.checks.lock().unwrap());
        for check in join_all(checks).await {
            check.unwrap();
        }
    }

    fn is_ready(&self) -> bool {
        self.backends.iter().all(|backend| backend.is_ready.load(Ordering::SeqCst))
    }

    /// Exchanges a key on the next server that is ready, and after an error on the other one, up to
    /// `retries` times. An exchange may be repeated, because it changes nothing.
    async fn exchange(&self, key: &str, retries: usize) -> Tally {
        let began = Instant::now();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % 2;
        let is_ready = |number: usize| self.backends[number].is_ready.load(Ordering::SeqCst);
        let first = if is_ready(first) || !is_ready(1 - first) { first } else { 1 - first };
        let mut tries = 0;
        let mut is_answered = false;
        while !is_answered && tries <= retries {
            let backend = &self.backends[(first + tries) % 2];
            let answer = self.http.post(format!("{}/v1/exchange", backend.base)).bearer_auth(key).send().await;
            is_answered = match answer.map(|answer| answer.status().as_u16()) {
                Ok(200) => true,
                Ok(502..=504) | Err(_) => false,
                Ok(other) => panic!("exchange: {other}"),
            };
            tries += 1;
        }
        Tally {
            requests: 1,
            retried: usize::from(tries > 1),
            lost: usize::from(!is_answered),
            slowest: began.elapsed(),
        }
    }
}

/// Clients that exchange a key until they are stopped.
pub struct Load {
    is_stopped: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts when both servers are ready.
    pub async fn start(balancer: &Arc<Balancer>, key: &str, retries: usize) -> Self {
        until("both servers are ready", LONG, || async { balancer.is_ready() }).await;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (balancer, is_stopped) = (Arc::clone(balancer), Arc::clone(&is_stopped));
                let key = key.to_owned();
                tokio::spawn(async move {
                    let mut pace = interval(PACE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    let mut tally = Tally::default();
                    while !is_stopped.load(Ordering::SeqCst) {
                        pace.tick().await;
                        tally.add(balancer.exchange(&key, retries).await);
                    }
                    tally
                })
            })
            .collect();
        Self { is_stopped, clients }
    }

    pub async fn stop(self) -> Tally {
        self.is_stopped.store(true, Ordering::SeqCst);
        let mut all = Tally::default();
        for client in join_all(self.clients).await {
            all.add(client.expect("a client failed: see above"));
        }
        all
    }
}
