//! Prometheus metrics. Label values are bounded: they come from fixed sets and never from client
//! input.

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::telemetry::labels::{
    Delivered, DeliveryLabels, ExchangeLabels, Form, ResponseLabels, Result, SigningKeyLabels, SigningRefusalLabels,
    StepLabels,
};

/// The values of the signing key gauges, from one snapshot.
#[derive(Debug, Default)]
pub struct SigningKeys {
    /// Algorithm, state, and how long the oldest key in that state has been in it.
    pub ages: Vec<(&'static str, &'static str, Duration)>,
    /// The kind of a step, and the seconds until the next one is due. Negative when it is overdue.
    pub steps: Vec<(&'static str, f64)>,
}

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    exchanges: Family<ExchangeLabels, Counter>,
    exchange_seconds: Histogram,
    responses: Family<ResponseLabels, Counter>,
    published_keys: Gauge,
    view_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    last_used_waiting: Gauge,
    webhook_attempts: Family<DeliveryLabels, Counter>,
    webhook_longest_wait: Gauge<f64, std::sync::atomic::AtomicU64>,
    signing_key_age: Family<SigningKeyLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    signing_key_next_step: Family<StepLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    refused_signings: Family<SigningRefusalLabels, Counter>,
    clock_jumps: Counter,
    status_lists: Gauge,
    status_list_bytes: Gauge,
    status_list_builds_lost: Counter,
    status_list_build_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    status_list_soonest_end: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("keyswap");
        let buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        let metrics = Self {
            exchanges: Family::default(),
            exchange_seconds: Histogram::new(buckets),
            responses: Family::default(),
            published_keys: Gauge::default(),
            view_age: Gauge::default(),
            last_used_waiting: Gauge::default(),
            webhook_attempts: Family::default(),
            webhook_longest_wait: Gauge::default(),
            signing_key_age: Family::default(),
            signing_key_next_step: Family::default(),
            refused_signings: Family::default(),
            clock_jumps: Counter::default(),
            status_lists: Gauge::default(),
            status_list_bytes: Gauge::default(),
            status_list_builds_lost: Counter::default(),
            status_list_build_age: Gauge::default(),
            status_list_soonest_end: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "exchanges",
            "API keys presented, by the form of the request and what became of it",
            metrics.exchanges.clone(),
        );
        registry.register_with_unit(
            "exchange",
            "Time from a parsed request to its token",
            Unit::Seconds,
            metrics.exchange_seconds.clone(),
        );
        registry.register("http_responses", "Answers, by status", metrics.responses.clone());
        registry.register("signing_keys_published", "Signing keys in the JWKS", metrics.published_keys.clone());
        registry.register_with_unit(
            "signing_keys_view_age",
            "Age of this replica's view of the signing keys; past signing_keys.replica_staleness it signs no more",
            Unit::Seconds,
            metrics.view_age.clone(),
        );
        registry.register("last_used_waiting", "Last-used times not yet written", metrics.last_used_waiting.clone());
        registry.register(
            "webhook_attempts",
            "Attempts to deliver an event to a webhook, by what they came to",
            metrics.webhook_attempts.clone(),
        );
        registry.register_with_unit(
            "webhook_longest_wait",
            "How long the oldest event that is not delivered yet has waited for an enabled webhook",
            Unit::Seconds,
            metrics.webhook_longest_wait.clone(),
        );
        registry.register_with_unit(
            "signing_key_age",
            "How long the oldest signing key of an algorithm has been in its state",
            Unit::Seconds,
            metrics.signing_key_age.clone(),
        );
        registry.register_with_unit(
            "signing_key_next_step",
            "Time until the next step of its kind is due; negative when it is overdue",
            Unit::Seconds,
            metrics.signing_key_next_step.clone(),
        );
        registry.register(
            "signings_refused",
            "Tokens that were not signed, since the view of the keys was too old, no key could sign, or the database looks like an old backup",
            metrics.refused_signings.clone(),
        );
        registry.register(
            "clock_jumps",
            "Jumps of the database's clock that were noticed here",
            metrics.clock_jumps.clone(),
        );
        registry.register("status_lists", "Status lists that are served", metrics.status_lists.clone());
        registry.register_with_unit(
            "status_lists_size",
            "What all status lists take on the wire together, compressed",
            Unit::Bytes,
            metrics.status_list_bytes.clone(),
        );
        registry.register(
            "status_list_builds_lost",
            "Builds of the status lists that were not written, since another replica was faster",
            metrics.status_list_builds_lost.clone(),
        );
        registry.register_with_unit(
            "status_list_build_age",
            "Time since this replica last found or made the status lists true",
            Unit::Seconds,
            metrics.status_list_build_age.clone(),
        );
        registry.register_with_unit(
            "status_list_soonest_end",
            "Time until the first of the status lists ends; negative when one has ended, 0 where there is none",
            Unit::Seconds,
            metrics.status_list_soonest_end.clone(),
        );
        // The counters start at 0, so that the first occurrence counts as an increase.
        for reason in ["stale", "no_key", "restored"] {
            drop(metrics.refused_signings.get_or_create(&SigningRefusalLabels { reason }));
        }
        Self { registry, ..metrics }
    }
}

impl Metrics {
    pub fn record_exchange(&self, form: Form, result: Result, took: Duration) {
        self.exchanges.get_or_create(&ExchangeLabels { form, result }).inc();
        if result == Result::Granted {
            self.exchange_seconds.observe(took.as_secs_f64());
        }
    }

    /// Returns the number of requests that count as a use of a key, by outcome, since the start.
    pub fn uses(&self) -> BTreeMap<&'static str, u64> {
        let count = |form, result| self.exchanges.get(&ExchangeLabels { form, result }).map(|counter| counter.get());
        let forms = || Form::ALL.into_iter().filter(|form| form.counts_as_use());
        let all = Result::ALL.into_iter();
        let counted = all.map(|result| (result.as_str(), forms().filter_map(|form| count(form, result)).sum()));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    pub fn record_response(&self, status: u16) {
        self.responses.get_or_create(&ResponseLabels { status }).inc();
    }

    pub fn record_webhook_attempt(&self, result: Delivered) {
        self.webhook_attempts.get_or_create(&DeliveryLabels { result }).inc();
    }

    pub fn set_longest_webhook_wait(&self, longest: Duration) {
        self.webhook_longest_wait.set(longest.as_secs_f64());
    }

    pub fn record_signing_refusal(&self, reason: &'static str) {
        self.refused_signings.get_or_create(&SigningRefusalLabels { reason }).inc();
    }

    pub fn record_clock_jump(&self) {
        self.clock_jumps.inc();
    }

    /// Replaces all values of the signing key gauges. A state without a key has no age.
    pub fn set_signing_key_metrics(&self, now: &SigningKeys) {
        self.signing_key_age.clear();
        for (algorithm, state, age) in &now.ages {
            self.signing_key_age.get_or_create(&SigningKeyLabels { algorithm, state }).set(age.as_secs_f64());
        }
        self.signing_key_next_step.clear();
        for (step, seconds) in &now.steps {
            self.signing_key_next_step.get_or_create(&StepLabels { step }).set(*seconds);
        }
    }

    pub fn set_status_list_size(&self, lists: usize, bytes: usize) {
        self.status_lists.set(i64::try_from(lists).unwrap_or(i64::MAX));
        self.status_list_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn record_build_conflict(&self) {
        self.status_list_builds_lost.inc();
    }

    pub fn set_status_list_ages(&self, build_age: Duration, soonest_end: Option<f64>) {
        self.status_list_build_age.set(build_age.as_secs_f64());
        self.status_list_soonest_end.set(soonest_end.unwrap_or_default());
    }

    /// Sets the gauges that are sampled when the metrics are scraped.
    pub fn set_sampled_gauges(&self, published_keys: usize, view_age: Duration, last_used_waiting: usize) {
        self.published_keys.set(i64::try_from(published_keys).unwrap_or(i64::MAX));
        self.view_age.set(view_age.as_secs_f64());
        self.last_used_waiting.set(i64::try_from(last_used_waiting).unwrap_or(i64::MAX));
    }

    /// Returns the metrics in the OpenMetrics 1.0 text format, which Prometheus scrapes.
    pub fn encode(&self) -> std::result::Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
