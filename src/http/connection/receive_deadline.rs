//! How long a client may take to send a request.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::connection::registry::ConnectionState;

/// Time limit for receiving the head of a request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the usual 60 s of load balancers, so that they close idle connections first.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much later than actix-http this deadline is, which answers 408 to the first request.
const MARGIN: Duration = Duration::from_secs(1);

/// The deadline for the next request. actix-http has one for the head of the first request and for
/// idle connections, but none for a connection that has sent a part of a later request, or less of
/// a body than it has announced and the handler has not read.
///
/// In HTTP/2, a client sends more than requests, such as PING. Once it has sent a request, only the
/// time without any progress counts.
#[derive(Debug, Default)]
pub struct ReceiveDeadline {
    /// The number of requests that had begun at the last call.
    requests: u64,
    /// When the first bytes since the last request arrived.
    receiving_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ReceiveDeadline {
    pub fn record_bytes(&mut self, state: &ConnectionState) {
        self.forget_earlier_requests(state);
        let waits_between_requests = state.is_http2() && state.requests() > 0;
        if !state.is_handling() && !waits_between_requests {
            self.receiving_since.get_or_insert_with(Instant::now);
        }
    }

    /// Must be called when no bytes are available. Returns `Ready` when the deadline has passed.
    /// While a request is handled, its handler limits the time for the body.
    pub fn poll_passed(&mut self, state: &ConnectionState, context: &mut Context<'_>) -> Poll<()> {
        self.forget_earlier_requests(state);
        if state.is_handling() {
            return Poll::Pending;
        }
        let idle = state.last_progress() + KEEP_ALIVE + MARGIN;
        let deadline = self.receiving_since.map_or(idle, |since| idle.min(since + HEADER_TIMEOUT + MARGIN));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }

    fn forget_earlier_requests(&mut self, state: &ConnectionState) {
        let requests = state.requests();
        if requests != self.requests {
            self.requests = requests;
            self.receiving_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;

    /// Seconds until the deadline passes, if a byte arrives every `pause` seconds.
    async fn seconds_with_bytes(state: &Arc<ConnectionState>, deadline: &mut ReceiveDeadline, pause: u64) -> u64 {
        let started = Instant::now();
        loop {
            deadline.record_bytes(state);
            let passed = poll_fn(|context| deadline.poll_passed(state, context));
            if tokio::time::timeout(Duration::from_secs(pause), passed).await.is_ok() {
                return started.elapsed().as_secs();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_requests_of_http2_are_no_request() {
        let state = Arc::new(ConnectionState::new(Instant::now()));
        state.set_http2();
        let mut deadline = ReceiveDeadline::default();
        assert_eq!(seconds_with_bytes(&state, &mut deadline, 2).await, 6, "no request at all");
        drop(state.begin_handling());
        assert_eq!(seconds_with_bytes(&state, &mut deadline, 7).await, 76, "they are no progress either");
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_has_a_deadline() {
        let state = Arc::new(ConnectionState::new(Instant::now()));
        let mut deadline = ReceiveDeadline::default();
        assert_eq!(seconds_with_bytes(&state, &mut deadline, 2).await, 6, "one byte now and then");
        drop(state.begin_handling());
        assert_eq!(seconds_with_bytes(&state, &mut deadline, 100).await, 6, "a part of the second request");
        let handling = state.begin_handling();
        let passed = poll_fn(|context| deadline.poll_passed(&state, context));
        assert!(tokio::time::timeout(Duration::from_secs(600), passed).await.is_err(), "a request is being handled");
        drop(handling);
        let started = Instant::now();
        poll_fn(|context| deadline.poll_passed(&state, context)).await;
        assert_eq!(started.elapsed().as_secs(), 76, "nothing arrives");
    }
}
