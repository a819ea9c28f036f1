//! Periodic background jobs. The rules are in `service`. The jobs end with the server.

pub mod webhooks;

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::service::{
    Error, Services,
    api_keys::expiry_notifications::{record_expiry_notifications, record_owner_deletions},
    encryption::{master_keys, rollback_guard},
    integrity, retention, signing, status_lists,
};

const ROLLBACK_GUARD_INTERVAL: Duration = Duration::from_secs(3);
const NOTIFICATION_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of batches of notifications in one run.
const MAX_NOTIFICATION_BATCHES: usize = 10;
/// A row that was altered is refused at once. This is how long it may take to be reported.
const INTEGRITY_INTERVAL: Duration = Duration::from_secs(600);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);
const MIN_BUILD_INTERVAL: Duration = Duration::from_secs(1);
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The running jobs of a server.
#[derive(Debug)]
pub struct Jobs {
    services: Arc<Services>,
    running: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Jobs {
    pub fn start(services: &Arc<Services>) -> Self {
        let stop = watch::Sender::new(false);
        let deliveries = webhooks::run(services.clone(), stop.subscribe());
        let mut jobs = Self { services: services.clone(), running: Vec::new(), stop };
        jobs.spawn("deliver events to webhooks", deliveries);
        let build = services.settings.timing.replica_staleness.duration() / 3;
        let refresh = build.min(MAX_REFRESH_INTERVAL);
        let flush = services.settings.usage.flush_interval.duration();
        jobs.run_every(refresh, "refresh the signing keys", |all| async move { refresh_keys(&all).await });
        // This job is separate from the refresh, because the generation of an RSA key would let the
        // snapshot become stale.
        jobs.run_every(refresh, "rotate signing keys", |all| async move { signing::run_due_rotation(&all).await });
        jobs.run_every(ROLLBACK_GUARD_INTERVAL, "update the rollback guard", |all| async move {
            rollback_guard::update(&all).await
        });
        jobs.run_every(refresh, "refresh the status lists", |all| async move { status_lists::refresh(&all).await });
        // A list is signed again at half of its `ttl`, also if that is shorter.
        let build = build.min(Duration::from_secs(status_lists::build::ttl(services)) / 4).max(MIN_BUILD_INTERVAL);
        jobs.run_every(build, "build the status lists", |all| async move { status_lists::update(&all).await });
        jobs.run_every(flush, "flush last-used times", |all| async move { all.last_used.flush().await });
        jobs.run_early_flush();
        jobs.run_every(flush, "flush counts of live tokens", |all| async move { all.live_tokens.flush().await });
        jobs.run_every(flush, "flush exchange counts", |all| async move {
            all.exchange_counts.flush(&all.store, &all.metrics).await
        });
        jobs.run_every(NOTIFICATION_INTERVAL, "record expiry notifications", |all| async move {
            record_notifications(&all).await
        });
        jobs.run_every(INTEGRITY_INTERVAL, "check the integrity of the rows", |all| async move {
            integrity::run_background_check(&all).await
        });
        jobs.run_every(CLEANUP_INTERVAL, "delete expired rows", |all| async move {
            retention::delete_expired_rows(&all).await
        });
        jobs
    }

    /// Stops the jobs, and writes what they would have written next.
    pub async fn stop(self) {
        // The jobs are signalled and not aborted, because an aborted flush would lose the data that
        // it holds.
        let _ = self.stop.send(true);
        for job in self.running {
            let _ = job.await;
        }
        let services = &*self.services;
        log_failure_at_shutdown("flush last-used times", services.last_used.flush().await);
        log_failure_at_shutdown("flush counts of live tokens", services.live_tokens.flush().await);
        log_failure_at_shutdown(
            "flush exchange counts",
            services.exchange_counts.flush(&services.store, &services.metrics).await,
        );
        log_failure_at_shutdown("update the rollback guard", rollback_guard::update(services).await);
    }

    /// Runs `job` at once and then after each `period`, until the jobs are stopped. `task`
    /// completes "failed to …" in the log.
    fn run_every<F, E>(
        &mut self,
        period: Duration,
        task: &'static str,
        job: impl Fn(Arc<Services>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send,
        E: Display + Send,
    {
        let (services, mut stopped) = (self.services.clone(), self.stop.subscribe());
        self.spawn(task, async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    // `changed` fails when the sender is dropped. That also means stop.
                    _ = stopped.changed() => break,
                    _ = ticks.tick() => log_failure(task, job(services.clone()).await),
                }
            }
        });
    }

    /// Flushes last-used times whenever many are buffered.
    fn run_early_flush(&mut self) {
        let (services, mut stopped) = (self.services.clone(), self.stop.subscribe());
        let task = "flush last-used times early";
        self.spawn(task, async move {
            loop {
                tokio::select! {
                    _ = stopped.changed() => break,
                    () = services.last_used.early_flush() => {
                        log_failure(task, services.last_used.flush_excess().await);
                    }
                }
            }
        });
    }

    fn spawn(&mut self, task: &'static str, job: impl Future<Output = ()> + Send + 'static) {
        self.running.push(spawn_logged(task, job));
    }
}

/// Runs a job until it ends. A panic ends the job and not the process, and is logged.
fn spawn_logged(task: &'static str, job: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let job = tokio::spawn(job);
    tokio::spawn(async move {
        if let Err(error) = job.await {
            tracing::error!(%error, "a background job panicked: failed to {task}; it does not run again until the server restarts");
        }
    })
}

fn log_failure(task: &str, result: Result<(), impl Display>) {
    if let Err(error) = result {
        tracing::warn!(%error, "failed to {task}; will retry");
    }
}

fn log_failure_at_shutdown(task: &str, result: Result<(), impl Display>) {
    if let Err(error) = result {
        tracing::error!(%error, "failed to {task} at shutdown");
    }
}

/// Refreshes the master keys and the snapshot of the signing keys. The second step runs even if the
/// first fails.
pub async fn refresh_keys(services: &Services) -> Result<(), Error> {
    let master = master_keys::refresh(services).await;
    services.keys.refresh().await?;
    Ok(master?)
}

/// Writes events for keys that end without a request: keys of deleted owners, and keys that expire.
pub async fn record_notifications(services: &Services) -> Result<(), Error> {
    for _ in 0..MAX_NOTIFICATION_BATCHES {
        let has_deletions = record_owner_deletions(services).await?;
        if !record_expiry_notifications(services).await? && !has_deletions {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn panic_of_a_job_is_logged_and_the_others_go_on() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let other = spawn_logged("do nothing", async {});
        spawn_logged("deliver events", async { panic!("a fault of the job") }).await.unwrap();
        other.await.unwrap();
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        for text in ["ERROR", "a background job panicked: failed to deliver events", "a fault of the job"] {
            assert!(log.contains(text), "{text}: {log}");
        }
    }
}
