//! Prometheus metrics. Label values come from fixed sets and never from client input.

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::telemetry::{
    database::DatabaseMetrics,
    labels::{AuthenticatedTable, ExchangeLabels, ExchangeResult, LargeTokenResult, RequestForm, WebhookAttemptResult},
    process_metrics::ProcessMetrics,
    registration::{FloatGauge, Label, add, add_seconds},
    reload_metrics::ReloadMetrics,
    signing_keys::SigningKeys,
};

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub database: DatabaseMetrics,
    pub process: ProcessMetrics,
    requests: RequestMetrics,
    signing: SigningMetrics,
    webhooks: WebhookMetrics,
    status_lists: StatusListMetrics,
    pub reloads: ReloadMetrics,
}

#[derive(Debug)]
struct RequestMetrics {
    exchanges: Family<ExchangeLabels, Counter>,
    exchange_seconds: Histogram,
    responses: Family<Label<u16>, Counter>,
    last_used_waiting: Gauge,
    integrity_failures: Family<Label<&'static str>, Counter>,
    open_connections: Gauge,
    shed_connections: Counter,
    large_tokens: Family<Label<LargeTokenResult>, Counter>,
}

#[derive(Debug)]
struct SigningMetrics {
    published_keys: Gauge,
    snapshot_age: FloatGauge,
    key_age: Family<[(&'static str, &'static str); 2], FloatGauge>,
    next_step: Family<Label<&'static str>, FloatGauge>,
    refused: Family<Label<&'static str>, Counter>,
    clock_jumps: Counter,
    forged_tokens: Counter,
}

#[derive(Debug)]
struct WebhookMetrics {
    attempts: Family<Label<WebhookAttemptResult>, Counter>,
    longest_wait: FloatGauge,
}

#[derive(Debug)]
struct StatusListMetrics {
    lists: Gauge,
    bytes: Gauge,
    builds_lost: Counter,
    build_age: FloatGauge,
    soonest_end: FloatGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("keyswap");
        Self {
            database: DatabaseMetrics::register(&mut registry),
            process: ProcessMetrics::register(&mut registry),
            requests: RequestMetrics::register(&mut registry),
            signing: SigningMetrics::register(&mut registry),
            webhooks: WebhookMetrics::register(&mut registry),
            status_lists: StatusListMetrics::register(&mut registry),
            reloads: ReloadMetrics::register(&mut registry),
            registry,
        }
    }
}

impl RequestMetrics {
    fn register(all: &mut Registry) -> Self {
        let buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
        let exchange_seconds = Histogram::new(buckets);
        let help = "Time from a parsed request to its token";
        all.register_with_unit("exchange", help, Unit::Seconds, exchange_seconds.clone());
        let metrics = Self {
            exchanges: add(all, "exchanges", "Presented API keys, by form of the request and result"),
            exchange_seconds,
            responses: add(all, "http_responses", "Responses, by status"),
            last_used_waiting: add(all, "last_used_waiting", "Last-used times that are not written yet"),
            integrity_failures: add(
                all,
                "integrity_failures",
                "Rows that were refused or found because they were altered outside of Keyswap, by table",
            ),
            open_connections: add(all, "open_connections", "Open connections of the public listener"),
            shed_connections: add(
                all,
                "connections_shed",
                "Connections that were closed because there were more than server.max_connections",
            ),
            large_tokens: add(
                all,
                "large_tokens",
                "Tokens of more than 4096 bytes that were issued, and exchanges that were refused because of \
                 tokens.max_size, by result",
            ),
        };
        // The counters start at 0, so that the first failure counts as an increase.
        for table in AuthenticatedTable::ALL {
            drop(metrics.integrity_failures.get_or_create(&[("table", table.as_str())]));
        }
        for result in LargeTokenResult::ALL {
            drop(metrics.large_tokens.get_or_create(&[("result", result)]));
        }
        metrics
    }
}

impl SigningMetrics {
    fn register(all: &mut Registry) -> Self {
        let metrics = Self {
            published_keys: add(all, "signing_keys_published", "Signing keys in the JWKS"),
            snapshot_age: add_seconds(
                all,
                "signing_key_snapshot_age",
                "Age of this replica's snapshot of the signing keys; it signs up to signing_keys.replica_staleness",
            ),
            key_age: add_seconds(
                all,
                "signing_key_age",
                "How long the oldest signing key of an algorithm has been in its state",
            ),
            next_step: add_seconds(
                all,
                "signing_key_next_step",
                "Time until the next step of its kind is due; negative if it is overdue",
            ),
            refused: add(
                all,
                "signings_refused",
                "Tokens that were not signed: the snapshot was too old, no key could sign, or the database was rolled back",
            ),
            clock_jumps: add(all, "clock_jumps", "Jumps of the database's clock that this replica detected"),
            forged_tokens: add(all, "forged_tokens", "Tokens with a valid signature that Keyswap did not issue"),
        };
        // The counters start at 0, so that the first occurrence counts as an increase.
        for reason in ["stale", "no_key", "restored"] {
            drop(metrics.refused.get_or_create(&[("reason", reason)]));
        }
        metrics
    }
}

impl WebhookMetrics {
    fn register(all: &mut Registry) -> Self {
        let help = "How long the oldest event that is not delivered yet has waited for an enabled webhook";
        Self {
            attempts: add(all, "webhook_attempts", "Attempts to deliver an event to a webhook, by result"),
            longest_wait: add_seconds(all, "webhook_longest_wait", help),
        }
    }
}

impl StatusListMetrics {
    fn register(all: &mut Registry) -> Self {
        let bytes = Gauge::default();
        let help = "Total size of all status lists, compressed";
        all.register_with_unit("status_lists_size", help, Unit::Bytes, bytes.clone());
        Self {
            lists: add(all, "status_lists", "Status lists that are served"),
            bytes,
            builds_lost: add(
                all,
                "status_list_builds_lost",
                "Builds of the status lists that were discarded, because another replica wrote first",
            ),
            build_age: add_seconds(
                all,
                "status_list_build_age",
                "Time since this replica last verified or built the status lists",
            ),
            soonest_end: add_seconds(
                all,
                "status_list_soonest_end",
                "Time until the first of the status lists expires; negative if one has expired, 0 if there is none",
            ),
        }
    }
}

impl Metrics {
    pub fn record_open_connections(&self, count: usize) {
        self.requests.open_connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn record_shed_connections(&self, count: usize) {
        self.requests.shed_connections.inc_by(count as u64);
    }

    pub fn record_exchange(&self, form: RequestForm, result: ExchangeResult, took: Duration) {
        self.requests.exchanges.get_or_create(&ExchangeLabels { form, result }).inc();
        if result == ExchangeResult::Granted {
            self.requests.exchange_seconds.observe(took.as_secs_f64());
        }
    }

    /// Returns the number of requests that count as a use of a key, by outcome, since the start.
    pub fn uses(&self) -> BTreeMap<&'static str, u64> {
        let count =
            |form, result| self.requests.exchanges.get(&ExchangeLabels { form, result }).map(|counter| counter.get());
        let forms = || RequestForm::ALL.into_iter().filter(|form| form.counts_as_use());
        let all = ExchangeResult::ALL.into_iter();
        let counted = all.map(|result| (result.as_str(), forms().filter_map(|form| count(form, result)).sum()));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    pub fn record_integrity_failure(&self, table: AuthenticatedTable) {
        self.requests.integrity_failures.get_or_create(&[("table", table.as_str())]).inc();
    }

    pub fn record_large_token(&self, result: LargeTokenResult) {
        self.requests.large_tokens.get_or_create(&[("result", result)]).inc();
    }

    pub fn record_response(&self, status: u16) {
        self.requests.responses.get_or_create(&[("status", status)]).inc();
    }

    pub fn record_webhook_attempt(&self, result: WebhookAttemptResult) {
        self.webhooks.attempts.get_or_create(&[("result", result)]).inc();
    }

    pub fn set_longest_webhook_wait(&self, longest: Duration) {
        self.webhooks.longest_wait.set(longest.as_secs_f64());
    }

    pub fn record_signing_refusal(&self, reason: &'static str) {
        self.signing.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub fn record_forged_token(&self) {
        self.signing.forged_tokens.inc();
    }

    pub fn record_clock_jump(&self) {
        self.signing.clock_jumps.inc();
    }

    /// Replaces all values of the signing key gauges. A state without a key has no age.
    pub fn set_signing_key_metrics(&self, now: &SigningKeys) {
        self.signing.key_age.clear();
        for ((algorithm, state), age) in &now.ages {
            self.signing.key_age.get_or_create(&[("algorithm", *algorithm), ("state", *state)]).set(age.as_secs_f64());
        }
        self.signing.next_step.clear();
        for (step, seconds) in &now.steps {
            self.signing.next_step.get_or_create(&[("step", *step)]).set(*seconds);
        }
    }

    pub fn set_status_list_size(&self, lists: usize, bytes: usize) {
        self.status_lists.lists.set(i64::try_from(lists).unwrap_or(i64::MAX));
        self.status_lists.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn record_build_conflict(&self) {
        self.status_lists.builds_lost.inc();
    }

    pub fn set_status_list_ages(&self, build_age: Duration, soonest_end: Option<f64>) {
        self.status_lists.build_age.set(build_age.as_secs_f64());
        self.status_lists.soonest_end.set(soonest_end.unwrap_or_default());
    }

    /// Sets the gauges that are sampled when the metrics are scraped.
    pub fn set_sampled_gauges(&self, published_keys: usize, snapshot_age: Duration, last_used_waiting: usize) {
        self.signing.published_keys.set(i64::try_from(published_keys).unwrap_or(i64::MAX));
        self.signing.snapshot_age.set(snapshot_age.as_secs_f64());
        self.requests.last_used_waiting.set(i64::try_from(last_used_waiting).unwrap_or(i64::MAX));
    }

    /// Returns the metrics in the OpenMetrics 1.0 text format, which Prometheus scrapes.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.process.sample();
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
