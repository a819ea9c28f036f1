//! Refreshes of a stale cache by the requests that need it.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};

use crate::{service::Error, store::Clock};

/// Maximum time that a request waits for a refresh. No request waits again for this time after a
/// failure.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Lets one request refresh the cache while the others wait for its result.
#[derive(Debug)]
pub struct RefreshGate {
    /// Completes "failed to …" in the log.
    task: &'static str,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
    /// Time of the last failure, by the monotonic clock.
    failed_at: std::sync::Mutex<Option<Duration>>,
}

impl RefreshGate {
    pub(crate) fn new(task: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self { task, clock, turn: Mutex::new(()), failed_at: std::sync::Mutex::default() }
    }

    /// Runs `refresh` within a time limit, unless the cache is fresh. After a failure there is no
    /// further attempt for the same time. Otherwise each request would wait for the failures of the
    /// others.
    pub(crate) async fn refresh_if_stale(
        &self,
        is_fresh: impl Fn() -> bool,
        refresh: impl AsyncFnOnce() -> Result<(), Error>,
    ) {
        let is_done = || is_fresh() || self.has_failed_recently();
        if is_done() {
            return;
        }
        // The future of each request would contain that of the refresh, which hardly ever runs.
        let attempt = Box::pin(async {
            let _turn = self.turn.lock().await;
            if is_done() { Ok(()) } else { refresh().await }
        });
        let error = match timeout(TIMEOUT, attempt).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timeout".to_owned(),
        };
        tracing::warn!(error, "failed to {}; will retry", self.task);
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.monotonic_elapsed());
    }

    fn has_failed_recently(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| self.clock.monotonic_elapsed().saturating_sub(at) < TIMEOUT)
    }
}
