//! The open connections of a listener, and the limit on their number.

use std::{
    cmp::Reverse,
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::service::Services;

/// The open connections of a listener. At the limit, a new connection closes those that have made
/// no progress for the longest time. Otherwise idle connections could keep all others out.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    started: Instant,
    open: Mutex<OpenConnections>,
    /// Records the connections, and ends them when the process drains, unless they are those of
    /// operators.
    services: Option<Arc<Services>>,
}

/// An entry of `Connections`. Dropping it removes the entry.
#[derive(Debug)]
pub struct Registration {
    id: u64,
    connections: Arc<Connections>,
    pub state: Arc<ConnectionState>,
}

/// What a request can learn about its connection.
#[derive(Debug, Clone)]
pub struct ServedConnection {
    pub state: Arc<ConnectionState>,
    /// Whether TLS ends here, and not at a proxy.
    pub is_tls: bool,
}

/// What the server knows about an open connection.
#[derive(Debug)]
pub struct ConnectionState {
    /// The start of the listener.
    started: Instant,
    /// When a request began or ended, a handler read a part of a body over HTTP/2, or bytes of a
    /// response were accepted, in milliseconds since `started`. Received bytes are no progress,
    /// because a client can send one now and then.
    last_progress_ms: AtomicU64,
    /// Bytes that were received since then. Counted in HTTP/2 only.
    received: AtomicUsize,
    /// How many requests have begun.
    requests: AtomicU64,
    /// How many requests are being handled. In HTTP/1.1 at most one.
    handling: AtomicUsize,
    is_http2: AtomicBool,
    is_shed: AtomicBool,
    waker: AtomicWaker,
}

/// Marks a connection whose request is being handled.
#[derive(Debug)]
pub struct HandlingGuard(Arc<ConnectionState>);

#[derive(Debug, Default)]
struct OpenConnections {
    next_id: u64,
    states: HashMap<u64, Arc<ConnectionState>>,
}

/// The part of the connections that is closed at once when there are too many. It bounds the cost
/// of the search for them.
const SHED_PART: usize = 64;

impl Connections {
    pub fn new(limit: usize, services: Option<Arc<Services>>) -> Arc<Self> {
        Arc::new(Self { limit, started: Instant::now(), open: Mutex::default(), services })
    }

    fn record(&self, open: usize, shed: usize) {
        if let Some(services) = &self.services {
            services.metrics.record_open_connections(open);
            services.metrics.record_shed_connections(shed);
        }
    }

    /// Adds a connection. If there are more than the limit, others are closed.
    pub fn register(self: &Arc<Self>) -> Registration {
        let state = Arc::new(ConnectionState::new(self.started));
        let mut open = self.lock();
        let is_full = open.states.len() >= self.limit;
        let shed = if is_full { open.shed_oldest((self.limit / SHED_PART).max(1)) } else { 0 };
        let id = open.insert(Arc::clone(&state));
        self.record(open.states.len(), shed);
        drop(open);
        Registration { id, connections: Arc::clone(self), state }
    }

    /// Returns once the process drains or stops. Connections of operators are only closed.
    pub async fn wait_for_drain(&self) {
        match &self.services {
            Some(services) => services.lifecycle.wait_for_drain().await,
            None => pending().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn insert(&mut self, state: Arc<ConnectionState>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.states.insert(id, state);
        id
    }

    /// Closes up to `count` connections: first those that wait for a request, and of these the ones
    /// that have made no progress for the longest time. Returns how many.
    fn shed_oldest(&mut self, count: usize) -> usize {
        let mut ids: Vec<_> = self.states.iter().map(|(id, state)| (state.shed_order(), *id)).collect();
        let count = count.min(ids.len());
        if count < ids.len() {
            ids.select_nth_unstable(count);
        }
        for (_, id) in &ids[..count] {
            if let Some(state) = self.states.remove(id) {
                state.is_shed.store(true, Ordering::Release);
                state.waker.wake();
            }
        }
        count
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.states.remove(&self.id);
        self.connections.record(open.states.len(), 0);
    }
}

impl ConnectionState {
    pub fn new(started: Instant) -> Self {
        let state = Self {
            started,
            last_progress_ms: AtomicU64::new(0),
            received: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            handling: AtomicUsize::new(0),
            is_http2: AtomicBool::new(false),
            is_shed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        };
        state.record_progress();
        state
    }

    pub fn record_progress(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_progress_ms.store(now, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
    }

    /// Counts received bytes, and returns how many there were since the last progress.
    pub fn record_received(&self, bytes: usize) -> usize {
        self.received.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }

    pub fn last_progress(&self) -> Instant {
        self.started + Duration::from_millis(self.last_progress_ms.load(Ordering::Relaxed))
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn is_handling(&self) -> bool {
        self.handling.load(Ordering::Relaxed) > 0
    }

    /// Records that TLS has negotiated HTTP/2.
    pub fn set_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// The least value is closed first.
    fn shed_order(&self) -> (Reverse<bool>, u64) {
        (Reverse(!self.is_handling()), self.last_progress_ms.load(Ordering::Relaxed))
    }

    /// Returns whether the connection must be closed. Otherwise its task is woken when it must.
    pub fn is_shed(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_shed.load(Ordering::Acquire)
    }

    pub fn begin_handling(self: &Arc<Self>) -> HandlingGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.handling.fetch_add(1, Ordering::Relaxed);
        self.record_progress();
        HandlingGuard(Arc::clone(self))
    }
}

impl Drop for HandlingGuard {
    fn drop(&mut self) {
        // The response is written after this.
        self.0.record_progress();
        self.0.handling.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_without_progress_for_the_longest_time_is_shed() {
        let mut open = OpenConnections::default();
        let mut add = |at| {
            let state = Arc::new(ConnectionState::new(Instant::now()));
            state.last_progress_ms.store(at, Ordering::Relaxed);
            open.insert(Arc::clone(&state));
            state
        };
        let states = [add(30), add(10), add(20), add(40)];
        let shed = || states.each_ref().map(|state| state.is_shed.load(Ordering::Relaxed));
        let handling = states[1].begin_handling();
        states[1].last_progress_ms.store(10, Ordering::Relaxed);
        assert_eq!(open.shed_oldest(1), 1);
        assert_eq!(shed(), [false, false, true, false], "a request is being handled");
        assert_eq!(open.shed_oldest(2), 2);
        assert_eq!(shed(), [true, false, true, true]);
        assert_eq!(open.shed_oldest(2), 1, "if all are being handled, the oldest of them");
        assert_eq!((shed(), open.shed_oldest(1)), ([true; 4], 0));
        drop(handling);
    }
}
