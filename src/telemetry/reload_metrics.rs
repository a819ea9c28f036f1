//! Metrics of reloads of the configuration.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::telemetry::{
    labels::ReloadResult,
    registration::{Label, add},
};

#[derive(Debug)]
pub struct ReloadMetrics {
    reloads: Family<Label<ReloadResult>, Counter>,
}

impl ReloadMetrics {
    pub(super) fn register(all: &mut Registry) -> Self {
        let metrics = Self { reloads: add(all, "config_reloads", "Reloads of the configuration, by result") };
        // The counters start at 0, so that the first failure counts as an increase.
        for result in ReloadResult::ALL {
            drop(metrics.reloads.get_or_create(&[("result", result)]));
        }
        metrics
    }

    pub fn record(&self, result: ReloadResult) {
        self.reloads.get_or_create(&[("result", result)]).inc();
    }
}
