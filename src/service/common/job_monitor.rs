//! The state of the background jobs. Liveness reports a job that has ended or does not make
//! progress, and a restart of the process is the remedy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::{metrics::Metrics, panics::catch_panic_of};

/// Why the background jobs do not do their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobFault {
    #[error("the background jobs were not started; restart the server")]
    NotStarted,
    #[error("background job {0:?} has ended; restart the server")]
    Ended(&'static str),
    #[error("background job {0:?} has not completed a run for {minutes} minutes; restart the server", minutes = .1.as_secs() / 60)]
    Stuck(&'static str, Duration),
}

/// The background jobs of a process. Copies share their state.
#[derive(Debug, Clone, Default)]
pub struct JobMonitor(Arc<Mutex<MonitorState>>);

#[derive(Debug, Default)]
struct MonitorState {
    is_expected: bool,
    is_stopping: bool,
    jobs: BTreeMap<&'static str, JobState>,
}

#[derive(Debug)]
struct JobState {
    max_run_time: Duration,
    run_began: Option<Instant>,
    has_ended: bool,
}

impl JobMonitor {
    /// Ignores poisoning: each modification of the state is a single assignment.
    fn lock(&self) -> MutexGuard<'_, MonitorState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it a fault if no job is started. For a server.
    pub fn expect_jobs(&self) {
        self.lock().is_expected = true;
    }

    /// Makes the end of a job no fault any more.
    pub fn stop(&self) {
        self.lock().is_stopping = true;
    }

    /// Adds a job, whose name completes "failed to …". The job has ended when the returned value is
    /// dropped. A run that takes longer than `max_run_time` is a fault.
    pub fn add_job(&self, name: &'static str, max_run_time: Duration) -> RunningJob {
        let state = JobState { max_run_time, run_began: None, has_ended: false };
        self.lock().jobs.insert(name, state);
        RunningJob { monitor: self.clone(), name }
    }

    /// Returns a job that does not do its work, or `None` if there is none.
    pub fn find_fault(&self) -> Option<JobFault> {
        let state = self.lock();
        if state.is_stopping {
            return None;
        }
        if state.is_expected && state.jobs.is_empty() {
            return Some(JobFault::NotStarted);
        }
        state.jobs.iter().find_map(|(&name, job)| {
            if job.has_ended {
                return Some(JobFault::Ended(name));
            }
            let took = job.run_began?.elapsed();
            (took > job.max_run_time).then_some(JobFault::Stuck(name, took))
        })
    }
}

/// A job that has not ended.
#[derive(Debug)]
pub struct RunningJob {
    monitor: JobMonitor,
    name: &'static str,
}

impl RunningJob {
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the job once. A panic ends the run and not the job: it is logged and counted, and the
    /// result is `None`.
    pub async fn run<F: Future>(&self, metrics: &Metrics, run: F) -> Option<F::Output> {
        self.update(|job| job.run_began = Some(Instant::now()));
        let result = catch_panic_of(run).await;
        self.update(|job| job.run_began = None);
        let task = self.name;
        result
            .inspect_err(|panic| {
                metrics.process.record_job_panic(task);
                tracing::error!(%panic, "a background job panicked: failed to {task}; will retry");
            })
            .ok()
    }

    fn update(&self, change: impl FnOnce(&mut JobState)) {
        if let Some(job) = self.monitor.lock().jobs.get_mut(self.name) {
            change(job);
        }
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.update(|job| job.has_ended = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(900);

    #[tokio::test(start_paused = true)]
    async fn job_that_ends_or_does_not_complete_a_run_is_a_fault() {
        let monitor = JobMonitor::default();
        assert_eq!(monitor.find_fault(), None, "a command has no jobs");
        monitor.expect_jobs();
        assert_eq!(monitor.find_fault(), Some(JobFault::NotStarted));
        let (first, second) = (monitor.add_job("a", LIMIT), monitor.add_job("b", LIMIT * 2));
        let metrics = Metrics::default();
        let pause = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let run = first.run(&metrics, async {
            pause(890).await;
            assert_eq!(monitor.find_fault(), None);
            pause(75).await;
            let fault = monitor.find_fault().unwrap();
            assert!(matches!(fault, JobFault::Stuck("a", _)), "{fault}");
            assert!(fault.to_string().contains("job \"a\" has not completed a run for 16 minutes"), "{fault}");
        });
        assert_eq!(run.await, Some(()));
        assert_eq!(monitor.find_fault(), None, "the run has completed");
        second.run(&metrics, pause(1000)).await;
        drop(second);
        assert_eq!(monitor.find_fault(), Some(JobFault::Ended("b")));
        monitor.stop();
        drop(first);
        assert_eq!(monitor.find_fault(), None, "a server that stops ends its jobs");
    }

    #[tokio::test]
    async fn panic_ends_a_run_and_is_counted() {
        let (monitor, metrics) = (JobMonitor::default(), Metrics::default());
        let job = monitor.add_job("deliver", LIMIT);
        let failed = job.run(&metrics, async { panic!("a fault of the job") });
        assert_eq!(failed.await.map(|()| "completed"), None);
        assert_eq!(job.run(&metrics, async { 7 }).await, Some(7));
        assert_eq!(monitor.find_fault(), None);
        let text = metrics.encode().unwrap();
        assert!(text.contains("keyswap_job_panics_total{job=\"deliver\"} 1\n"), "{text}");
    }
}
