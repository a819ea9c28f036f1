//! Periodic background jobs. The rules are in `service`. The jobs end with the server.

pub mod webhooks;

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::service::{
    Error, Services,
    api_keys::expiry_notifications::{record_expiry_notifications, record_owner_deletions},
    common::job_monitor::RunningJob,
    database_server,
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
/// Soon after midnight, since the first use of a day otherwise moves those of the day before.
const ROLL_UP_INTERVAL: Duration = Duration::from_secs(60);
const MIN_BUILD_INTERVAL: Duration = Duration::from_secs(1);
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which a run is not expected to complete any more. Each step of a run has a timeout of
/// seconds, and the longest runs, which build all status lists, take a few minutes.
const MAX_RUN_TIME: Duration = Duration::from_secs(15 * 60);
/// The same for jobs that go over all rows in batches, with pauses: the check of ten million rows
/// takes one and a half hours.
const MAX_BATCHED_RUN_TIME: Duration = Duration::from_secs(24 * 3600);

/// How long the stop waits for the jobs. Each ends with the step of its run that is in progress.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The running jobs of a server.
#[derive(Debug)]
pub struct Jobs {
    services: Arc<Services>,
    running: Vec<(&'static str, JoinHandle<()>)>,
    stop: watch::Sender<bool>,
}

impl Jobs {
    pub fn start(services: &Arc<Services>) -> Self {
        let stop = watch::Sender::new(false);
        let mut jobs = Self { services: services.clone(), running: Vec::new(), stop };
        let (all, stopped) = (services.clone(), jobs.stop.subscribe());
        jobs.spawn("deliver events to webhooks", MAX_RUN_TIME, |job| webhooks::run(all, job, stopped));
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
        jobs.run_new_server_check();
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
        jobs.run_limited(
            INTEGRITY_INTERVAL,
            MAX_BATCHED_RUN_TIME,
            "check the integrity of the rows",
            |all| async move { integrity::run_background_check(&all).await },
        );
        jobs.run_limited(ROLL_UP_INTERVAL, MAX_BATCHED_RUN_TIME, "roll up the usage of past days", |all| async move {
            retention::roll_up_usage(&all).await
        });
        jobs.run_limited(CLEANUP_INTERVAL, MAX_BATCHED_RUN_TIME, "delete expired rows", |all| async move {
            retention::delete_expired_rows(&all).await
        });
        jobs
    }

    /// Stops the jobs, and writes what they would have written next.
    pub async fn stop(self) {
        self.stop_within(STOP_TIMEOUT).await;
    }

    async fn stop_within(self, timeout: Duration) {
        // The jobs are signalled and not aborted, because an aborted flush would lose the data that
        // it holds.
        self.services.job_monitor.stop();
        let _ = self.stop.send(true);
        let deadline = Instant::now() + timeout;
        for (task, job) in self.running {
            if timeout_at(deadline, job).await.is_err() {
                tracing::warn!(?timeout, "the job that should {task} did not end in time; stopping without it");
            }
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
        self.run_limited(period, MAX_RUN_TIME, task, job);
    }

    /// Like `run_every`, with the time after which liveness reports a run that has not ended.
    fn run_limited<F, E>(
        &mut self,
        period: Duration,
        max_run_time: Duration,
        task: &'static str,
        job: impl Fn(Arc<Services>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send,
        E: Display + Send,
    {
        let (services, mut stopped) = (self.services.clone(), self.stop.subscribe());
        self.spawn(task, max_run_time, |running| async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    // `changed` fails when the sender is dropped. That also means stop.
                    _ = stopped.changed() => break,
                    _ = ticks.tick() => run_once(&services, &running, job(services.clone())).await,
                }
            }
        });
    }

    /// Runs the rollback check of each new database server, after which it is trusted.
    fn run_new_server_check(&mut self) {
        let (services, mut stopped) = (self.services.clone(), self.stop.subscribe());
        self.spawn("check the new database server for a rollback", MAX_RUN_TIME, |running| async move {
            loop {
                tokio::select! {
                    _ = stopped.changed() => break,
                    () = services.store.wait_for_new_server() => {
                        run_once(&services, &running, database_server::check_new(&services)).await;
                    }
                }
            }
        });
    }

    /// Flushes last-used times whenever many are buffered.
    fn run_early_flush(&mut self) {
        let (services, mut stopped) = (self.services.clone(), self.stop.subscribe());
        self.spawn("flush last-used times early", MAX_RUN_TIME, |running| async move {
            loop {
                tokio::select! {
                    _ = stopped.changed() => break,
                    () = services.last_used.early_flush() => {
                        run_once(&services, &running, services.last_used.flush_excess()).await;
                    }
                }
            }
        });
    }

    fn spawn<F>(&mut self, task: &'static str, max_run_time: Duration, job: impl FnOnce(RunningJob) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.services.metrics.process.add_job(task);
        let running = self.services.job_monitor.add_job(task, max_run_time);
        self.running.push((task, tokio::spawn(job(running))));
    }
}

async fn run_once<E: Display>(services: &Services, job: &RunningJob, run: impl Future<Output = Result<(), E>>) {
    if let Some(result) = job.run(&services.metrics, run).await {
        log_failure(job.name(), result);
    }
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
    use std::{
        path::Path,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::{
        app::startup::{self, StartMode},
        config::Settings,
        service::{common::job_monitor::JobFault, health},
        store::SystemClock,
    };

    async fn start_services(dir: &Path) -> Arc<Services> {
        let path = |name: &str| dir.join(name).display().to_string();
        let set = [format!("database.url=sqlite://{}", path("keyswap.db")), format!("keys.dir={}", path("keys"))];
        let settings = Settings::load(None, &set).unwrap();
        Arc::new(startup::start(settings, StartMode::Serve, Arc::new(SystemClock)).await.unwrap())
    }

    #[tokio::test]
    async fn job_that_panics_runs_again_and_a_job_that_ends_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let services = start_services(dir.path()).await;
        let mut jobs = Jobs { services: services.clone(), running: Vec::new(), stop: watch::Sender::new(false) };
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        jobs.run_every(Duration::from_millis(5), "count", move |_| {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move { if run == 0 { panic!("a fault of the job") } else { Ok::<_, Error>(()) } }
        });
        while runs.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let metrics = services.metrics.encode().unwrap();
        assert!(metrics.contains("keyswap_job_panics_total{job=\"count\"} 1\n"), "{metrics}");
        assert_eq!(health::find_liveness_fault(&services), None);

        jobs.spawn("end", MAX_RUN_TIME, |_| async {});
        while health::find_liveness_fault(&services).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(health::find_liveness_fault(&services), Some(JobFault::Ended("end")));
        jobs.stop().await;
        assert_eq!(health::find_liveness_fault(&services), None);
    }

    #[tokio::test]
    async fn stop_does_not_wait_for_a_job_that_does_not_end() {
        let dir = tempfile::tempdir().unwrap();
        let services = start_services(dir.path()).await;
        let mut jobs = Jobs { services, running: Vec::new(), stop: watch::Sender::new(false) };
        jobs.spawn("hang", MAX_RUN_TIME, |_| std::future::pending());
        let stopped = tokio::time::timeout(Duration::from_secs(10), jobs.stop_within(Duration::from_millis(20)));
        assert!(stopped.await.is_ok());
    }
}
