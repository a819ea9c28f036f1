//! Metrics of the process: its log and its background jobs.

use std::sync::atomic::Ordering;

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::telemetry::{
    log,
    registration::{Label, add},
};

/// The metrics of a process.
#[derive(Debug)]
pub struct ProcessMetrics {
    dropped_log_lines: Counter,
    job_panics: Family<Label<String>, Counter>,
}

impl ProcessMetrics {
    pub(super) fn register(all: &mut Registry) -> Self {
        Self {
            dropped_log_lines: add(
                all,
                "log_lines_dropped",
                "Lines of the log that were not written, because standard error failed or was not read",
            ),
            job_panics: add(all, "job_panics", "Runs of background jobs that ended with a panic, by job"),
        }
    }

    /// Starts the counter of a job at 0, so that its first panic counts as an increase.
    pub fn add_job(&self, job: &str) {
        drop(self.job_panics.get_or_create(&label_of(job)));
    }

    pub fn record_job_panic(&self, job: &str) {
        self.job_panics.get_or_create(&label_of(job)).inc();
    }

    /// Takes over the count of the log, which starts before the metrics and does not depend on
    /// them.
    pub(super) fn sample(&self) {
        self.dropped_log_lines.inner().store(log::count_dropped_lines(), Ordering::Relaxed);
    }
}

/// The name of a job in the log, such as `rotate signing keys`, as a value of a label.
fn label_of(job: &str) -> Label<String> {
    [("job", job.replace([' ', '-'], "_"))]
}
