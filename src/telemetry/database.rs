//! Metrics of the database. The store counts, because it knows no metrics; the counts are copied
//! when the metrics are scraped.

use std::{sync::atomic::Ordering, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::telemetry::registration::{FloatGauge, add, add_seconds};

#[derive(Debug)]
pub struct DatabaseMetrics {
    transaction_retries: Family<[(&'static str, &'static str); 1], Counter>,
    heartbeat_age: FloatGauge,
}

impl DatabaseMetrics {
    pub(super) fn register(all: &mut Registry) -> Self {
        let help = "Changes that were repeated because the database rolled them back, by reason";
        Self {
            transaction_retries: add(all, "transaction_retries", help),
            heartbeat_age: add_seconds(
                all,
                "database_heartbeat_age",
                "Time since the last heartbeat was sent that PostgreSQL has acknowledged; beyond database.lease, requests \
                 are answered 503",
            ),
        }
    }

    /// Sets the number of retries since the start. It never decreases.
    pub fn set_transaction_retries(&self, reason: &'static str, count: u64) {
        let counter = self.transaction_retries.get_or_create(&[("reason", reason)]);
        counter.inner().fetch_max(count, Ordering::Relaxed);
    }

    pub fn set_heartbeat_age(&self, age: Duration) {
        self.heartbeat_age.set(age.as_secs_f64());
    }
}
