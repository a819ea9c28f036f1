//! The signing keys, replicas and rules of the deployment, as one transaction reads them.

use crate::{
    config::Settings,
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        signing::{
            Algorithm, SigningKeyMetadata,
            rotation::{PlannedStep, RotationRules, RotationStep, WaitReason},
        },
    },
    service::{Services, replicas},
    store::{self, Conn, StoreError, signing::replicas::Replica},
    telemetry::metrics::SigningKeys,
};
use std::collections::BTreeMap;

/// A signing key with the times that are relevant to a rotation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    #[serde(flatten)]
    pub info: SigningKeyMetadata,
    /// The earliest time at which the key may sign, or could have signed. It is an estimate until
    /// the publication of the key is seen.
    pub may_sign_from: Timestamp,
    /// The earliest time at which the key may leave the JWKS; present once the key is retired.
    pub may_be_removed_from: Option<Timestamp>,
    /// Number of its unexpired tokens, as far as replicas have written their counts
    /// (`usage.flush_interval`).
    pub live_tokens: i64,
}

/// The signing keys and the rotation plan.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Timeline {
    /// Every key that is or was published.
    pub data: Vec<Listed>,
    /// Always absent: the list has one page.
    pub next: Option<String>,
    /// The next step of each key, soonest first.
    pub plan: Vec<Upcoming>,
    /// The running replicas.
    pub replicas: Vec<ReplicaView>,
    /// The rules in effect.
    pub rules: EffectiveRulesView,
}

/// A planned step.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Upcoming {
    pub step: &'static str,
    /// Absent for a key that does not exist yet.
    pub kid: Option<SigningKeyId>,
    pub algorithm: Option<Algorithm>,
    pub at: Timestamp,
    pub waits_for: WaitReason,
}

/// A server, as it reported itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReplicaView {
    pub id: String,
    pub name: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// The kids in its JWKS.
    pub published: Vec<String>,
}

/// The settings in effect. `rotation_period` is that of this process; the other times are the
/// strictest of all replicas.
#[derive(Debug, Clone, serde::Serialize)]
pub struct EffectiveRulesView {
    pub rotation_period: Option<Span>,
    pub verifier_cache_ttl: Span,
    pub replica_staleness: Span,
    pub verifier_leeway: Span,
    pub clock_skew: Span,
    pub max_ttl: Span,
    /// The time from which waits count: the last jump of the database clock, or the last time a
    /// rolled back database was accepted. Absent: neither has happened.
    pub steady_since: Option<Timestamp>,
}

/// Everything that a plan depends on, read at one moment.
pub(crate) struct Looked {
    pub(crate) keys: Vec<SigningKeyMetadata>,
    replicas: Vec<Replica>,
    pub(crate) rules: RotationRules,
}

impl Looked {
    pub(crate) fn at(connection: &mut Conn, settings: &Settings, now: Timestamp) -> Result<Self, StoreError> {
        let keys = store::signing::signing_keys::list(connection, false)?.into_iter().map(|key| key.info).collect();
        let replicas = store::signing::replicas::list(connection)?;
        let asked = store::access::audiences::list_required_algorithms(connection)?;
        let (last, steady) = store::signing::clock::read(connection)?;
        let mut rules = replicas::rules(settings, &replicas, asked, steady, now);
        rules.stable_since = steady.after_reading(last, now, rules.timing.clock_skew);
        Ok(Self { keys, replicas, rules })
    }

    /// The steps that are due, without activations of keys that this replica cannot use.
    pub(crate) fn due(&self, now: Timestamp, unusable: &[SigningKeyId]) -> Vec<PlannedStep> {
        let due = self.rules.plan(&self.keys, now).into_iter().filter(|planned| planned.at <= now);
        due.filter(|planned| !matches!(&planned.step, RotationStep::Activate(kid) if unusable.contains(kid))).collect()
    }

    pub(crate) fn view_key(
        &self,
        key: &SigningKeyMetadata,
        now: Timestamp,
        live: &BTreeMap<SigningKeyId, i64>,
    ) -> Listed {
        let known = self.rules.activation_time(key, now);
        Listed {
            may_sign_from: known.unwrap_or_else(|| now.plus(self.rules.timing.propagation_delay())),
            may_be_removed_from: self.rules.removal_time(key, now),
            live_tokens: live.get(&key.kid).copied().unwrap_or_default(),
            info: key.clone(),
        }
    }

    pub(crate) fn timeline(&self, now: Timestamp, live: &BTreeMap<SigningKeyId, i64>) -> Timeline {
        let timing = self.rules.timing;
        Timeline {
            data: self.keys.iter().map(|key| self.view_key(key, now, live)).collect(),
            next: None,
            plan: self.rules.plan(&self.keys, now).into_iter().map(|planned| self.view_step(planned)).collect(),
            replicas: self
                .replicas
                .iter()
                .filter(|replica| replicas::is_running(replica, now))
                .map(|replica| ReplicaView {
                    id: replica.id.to_string(),
                    name: replica.name.clone(),
                    started_at: replica.started_at,
                    seen_at: replica.last_heartbeat_at,
                    published: replica.published_kids.split_whitespace().map(str::to_owned).collect(),
                })
                .collect(),
            rules: EffectiveRulesView {
                rotation_period: self.rules.rotation_period,
                verifier_cache_ttl: timing.verifier_cache_ttl,
                replica_staleness: timing.max_snapshot_age,
                verifier_leeway: timing.verifier_leeway,
                clock_skew: timing.clock_skew,
                max_ttl: timing.max_ttl,
                steady_since: Some(self.rules.stable_since.stable_since).filter(|since| since.millis() > 0),
            },
        }
    }

    /// The values for metrics: the age of the oldest key in each state, and the time until the next
    /// step of each kind.
    pub(crate) fn collect_metrics(&self, plan: &[PlannedStep], now: Timestamp) -> SigningKeys {
        let mut ages = BTreeMap::new();
        for key in self.keys.iter().filter(|key| key.state.is_published()) {
            let since = key.retired_at.or(key.activated_at).unwrap_or(key.published_at);
            let age = now.elapsed_since(since).duration();
            let oldest = ages.entry((key.algorithm.as_str(), key.state.as_str())).or_insert(age);
            *oldest = age.max(*oldest);
        }
        let mut steps = BTreeMap::new();
        for planned in plan {
            let wait = if planned.at >= now {
                planned.at.elapsed_since(now).duration().as_secs_f64()
            } else {
                -now.elapsed_since(planned.at).duration().as_secs_f64()
            };
            // The plan is in order of time, so the first step of a kind is the soonest.
            steps.entry(planned.step.as_str()).or_insert(wait);
        }
        SigningKeys {
            ages: ages.into_iter().map(|((algorithm, state), age)| (algorithm, state, age)).collect(),
            steps: steps.into_iter().collect(),
        }
    }

    fn view_step(&self, planned: PlannedStep) -> Upcoming {
        let PlannedStep { at, step, waits_for } = planned;
        let of = |kid: &SigningKeyId| self.keys.iter().find(|key| key.kid == *kid).map(|key| key.algorithm);
        let algorithm = match &step {
            RotationStep::Publish(algorithm) => Some(*algorithm),
            RotationStep::ConfirmPublication(kid)
            | RotationStep::Activate(kid)
            | RotationStep::Retire(kid)
            | RotationStep::DestroyPrivateKey(kid)
            | RotationStep::Remove(kid) => of(kid),
        };
        Upcoming { step: step.as_str(), kid: step.kid().cloned(), algorithm, at, waits_for }
    }
}

/// Refreshes the snapshot after a commit. A failure does not undo the change, and the background
/// job refreshes again within seconds.
pub(crate) async fn refresh_keys(services: &Services) {
    if let Err(error) = services.keys.refresh().await {
        tracing::warn!(%error, "the signing keys could not be looked at");
    }
}
