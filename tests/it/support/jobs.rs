//! The background jobs of a server, called by a test instead of waited for.

use futures_util::future::join_all;
use keyswap::{
    jobs::{clean, notices, status_lists, webhooks},
    service::{
        exchange_counts, last_used, master_keys,
        signing_keys::{self, live_tokens},
        webhooks::{courier, fan_out},
        witness,
    },
};

use super::Server;

/// Among a server's settings: no job runs by its clock, each runs when the test calls it. Holds for its replicas as well.
pub const BY_HAND: &str = "jobs=by_hand";

/// No test needs as many runs of a job until there is nothing left to do.
const MOST_RUNS: usize = 100;

impl Server {
    /// Runs every job once, in the order of `Jobs::start`. What is due when it is called is done when it returns, and what it did not do is
    /// not due: a test that says "nothing happens" need not wait for anybody's turn.
    pub async fn run_jobs(&self) {
        self.refresh_keys().await;
        signing_keys::tick(&self.app).await.unwrap();
        witness::keep(&self.app).await.unwrap();
        status_lists::keep(&self.app).await.unwrap();
        last_used::flush(&self.app).await.unwrap();
        live_tokens::flush(&self.app).await.unwrap();
        exchange_counts::flush(&self.app).await.unwrap();
        notices::tell(&self.app).await.unwrap();
        clean(&self.app).await.unwrap();
        webhooks::run_once(&self.app).await.unwrap();
    }

    /// The job that reads the master keys and the signing keys.
    pub async fn refresh_keys(&self) {
        master_keys::refresh(&self.app).await.unwrap();
        self.app.keys.refresh(&self.app.store, &self.app.master).await.unwrap();
    }

    /// Sends to webhooks until nothing is due: an attempt can leave an event, which is sent in turn.
    pub async fn deliver(&self) {
        for _ in 0..MOST_RUNS {
            webhooks::run_once(&self.app).await.unwrap();
            if !fan_out(&self.app).await.unwrap() && courier::due(&self.app).await.unwrap().is_empty() {
                return;
            }
        }
        panic!("something is due after {MOST_RUNS} runs");
    }
}

/// Runs the jobs of several replicas at the same time, and once more one after another: what they do twice is there then.
pub async fn run_jobs_of(servers: &[&Server]) {
    join_all(servers.iter().map(|server| server.run_jobs())).await;
    for server in servers {
        server.run_jobs().await;
    }
}

/// Runs the jobs until `holds`, a few times at most: some steps take a second run, since another replica has to see the first one.
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
