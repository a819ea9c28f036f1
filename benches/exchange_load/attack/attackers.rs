//! The attackers. They share one thread, apart from the legitimate clients.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{outcomes::Outcomes, stalled};
use crate::{
    load::{Connection, Rate, RequestKind},
    seed::Keys,
};

/// How long an attack runs before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// A connection whose request takes longer is replaced.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a request that was not answered.
const RECONNECT: Duration = Duration::from_millis(100);
/// How often the attack checks whether it must stop.
const STOP_INTERVAL: Duration = Duration::from_millis(10);

/// The request of an attack, and the keys that it is sent with.
pub struct AttackRequests {
    pub keys: Arc<Keys>,
    pub kind: RequestKind,
}

pub enum Attackers<'a> {
    /// Requests at a fixed rate, as far as `connections` with one request at a time on each
    /// suffice.
    Requests { requests: &'a AttackRequests, connections: u16, rate: Rate },
    /// Connections that make no progress.
    Stalled,
}

#[derive(Default)]
struct AttackState {
    is_counting: AtomicBool,
    is_stopped: AtomicBool,
    outcomes: Mutex<Outcomes>,
}

/// Stops the attack when it is dropped, also by a panic.
struct StopGuard<'a>(&'a AttackState);

/// One connection of an attack.
struct AttackConnection {
    port: u16,
    number: u16,
    keys: Arc<Keys>,
    kind: RequestKind,
    /// When the first request is sent, and the time between two requests.
    first: Instant,
    period: Duration,
    open: Option<Connection>,
}

impl Attackers<'_> {
    /// Attacks while `during` runs. Returns its result, and the requests of the attackers that
    /// ended meanwhile.
    pub fn attack_while<T>(&self, port: u16, during: impl FnOnce() -> T) -> (T, Outcomes) {
        let state = Arc::new(AttackState::default());
        let result = thread::scope(|scope| {
            let _stop = StopGuard(&state);
            scope.spawn(|| self.attack(port, &state));
            thread::sleep(WARM_UP);
            state.is_counting.store(true, Ordering::Relaxed);
            let result = during();
            state.is_counting.store(false, Ordering::Relaxed);
            result
        });
        let outcomes = *state.outcomes.lock().expect("no panic");
        (result, outcomes)
    }

    fn attack(&self, port: u16, state: &Arc<AttackState>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // Dropping the set closes the connections.
            let mut running = JoinSet::new();
            self.spawn_connections(port, state, &mut running);
            while !state.is_stopped.load(Ordering::Relaxed) {
                sleep(STOP_INTERVAL).await;
            }
        });
    }

    fn spawn_connections(&self, port: u16, state: &Arc<AttackState>, running: &mut JoinSet<()>) {
        let (requests, connections, rate) = match self {
            Self::Stalled => return stalled::spawn_connections(port, running),
            Self::Requests { requests, connections, rate } => (requests, *connections, *rate),
        };
        let period = match rate {
            Rate::Highest => Duration::ZERO,
            Rate::PerSecond(all) => Duration::from_secs_f64(f64::from(connections) / all),
        };
        let begin = Instant::now();
        for number in 0..connections {
            let connection = AttackConnection {
                port,
                number,
                keys: Arc::clone(&requests.keys),
                kind: requests.kind.clone(),
                first: begin + period.mul_f64(f64::from(number) / f64::from(connections)),
                period,
                open: None,
            };
            running.spawn(connection.send_requests(Arc::clone(state)));
        }
    }
}

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl AttackState {
    fn count(&self, status: Option<u16>) {
        if self.is_counting.load(Ordering::Relaxed) {
            self.outcomes.lock().expect("no panic").count(status);
        }
    }
}

impl AttackConnection {
    async fn send_requests(mut self, state: Arc<AttackState>) {
        let mut due = self.first;
        loop {
            sleep_until(due.into()).await;
            let status = match timeout(TIMEOUT, self.send_request()).await {
                Ok(Ok(status)) => Some(status),
                Ok(Err(_)) | Err(_) => None,
            };
            state.count(status);
            if status.is_none() {
                self.open = None;
                sleep(RECONNECT).await;
            }
            // Missed requests are not made up for.
            due = Instant::now().max(due + self.period);
        }
    }

    async fn send_request(&mut self) -> io::Result<u16> {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => Connection::open(self.port, self.number, Arc::clone(&self.keys), self.kind.clone()).await?,
        };
        self.open.insert(connection).send_request().await
    }
}
