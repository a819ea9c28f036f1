//! Runs a server's background jobs on demand, so that tests do not wait for their schedule.

use futures_util::future::join_all;
use keyswap::{
    app::jobs::{self, webhooks},
    service::{
        encryption::rollback_guard,
        retention, signing, status_lists,
        webhooks::{delivery_worker, fan_out},
    },
};

use super::Server;

/// A setting for `Server`: no job runs on schedule, each runs when the test calls it. It applies to
/// the server's replicas as well.
pub const MANUAL_JOBS: &str = "jobs=by_hand";

/// Upper bound on repeated runs of a job. No test needs this many before the work is done.
const MOST_RUNS: usize = 100;

impl Server {
    /// Runs every job once, in the order of `Jobs::start`. Work that is due at the call is done on
    /// return, and work that is not done was not due. A test that expects no effect therefore needs
    /// no waiting time.
    pub async fn run_jobs(&self) {
        self.refresh_keys().await;
        signing::run_due_rotation(&self.services).await.unwrap();
        rollback_guard::update(&self.services).await.unwrap();
        status_lists::update(&self.services).await.unwrap();
        self.services.last_used.flush().await.unwrap();
        self.services.live_tokens.flush().await.unwrap();
        self.services.exchange_counts.flush(&self.services.store, &self.services.metrics).await.unwrap();
        jobs::record_notifications(&self.services).await.unwrap();
        retention::roll_up_usage(&self.services).await.unwrap();
        retention::delete_expired_rows(&self.services).await.unwrap();
        webhooks::deliver_once(&self.services).await.unwrap();
    }

    /// Runs the job that reads the master keys and the signing keys.
    pub async fn refresh_keys(&self) {
        jobs::refresh_keys(&self.services).await.unwrap();
    }

    /// Sends to webhooks until no delivery is due. A delivery attempt can create an event, which is
    /// sent in turn.
    pub async fn deliver(&self) {
        for _ in 0..MOST_RUNS {
            webhooks::deliver_once(&self.services).await.unwrap();
            if !fan_out(&self.services).await.unwrap()
                && delivery_worker::list_due_webhooks(&self.services).await.unwrap().is_empty()
            {
                return;
            }
        }
        panic!("something is due after {MOST_RUNS} runs");
    }
}

/// Runs the jobs of several replicas concurrently and then one after another. Work that they do
/// twice shows after the second pass.
pub async fn run_jobs_of(servers: &[&Server]) {
    join_all(servers.iter().map(|server| server.run_jobs())).await;
    for server in servers {
        server.run_jobs().await;
    }
}

/// Runs the jobs until `holds` returns true, at most three times. Some steps need a second run
/// because another replica has to see the result of the first one.
pub async fn until_jobs(servers: &[&Server], what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3 {
        for server in servers {
            server.run_jobs().await;
        }
        if holds().await {
            return;
        }
    }
    panic!("not after three runs of the jobs: {what}");
}
