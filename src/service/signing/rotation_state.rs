//! The signing keys, replicas and rules of the deployment, as one transaction reads them.

use crate::{
    config::Settings,
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        signing::{
            Algorithm, SigningKeyMetadata, SigningKeyState,
            rotation::{PlannedStep, RotationRules, RotationStep, WaitReason},
        },
    },
    service::{Services, replicas},
    store::{
        self, Conn, StoreError,
        signing::{replicas::Replica, stored_keys::StoredSigningKey},
    },
    telemetry::signing_keys::SigningKeys,
};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A signing key, with the times that matter for rotation.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub struct SigningKeyItem {
    #[serde(flatten)]
    #[schema(inline)]
    pub info: SigningKeyMetadata,
    /// Earliest time at which the key may sign, or could have signed.
    pub may_sign_from: Timestamp,
    /// Earliest time at which the key may leave the JWKS. Null until the key is retired.
    pub may_be_removed_from: Option<Timestamp>,
    /// Number of unexpired tokens signed by the key, as last reported by the replicas. Replicas
    /// report once per `usage.flush_interval`, 10 seconds by default.
    pub live_tokens: i64,
}

/// The signing keys and their planned transitions.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SigningKeys)]
pub struct Timeline {
    pub data: Vec<SigningKeyItem>,
    // Always absent: the list has one page.
    pub next: Option<String>,
    /// The next step of each key, earliest first.
    pub plan: Vec<UpcomingStep>,
    /// The running replicas.
    pub replicas: Vec<ReplicaItem>,
    /// The rotation rules in effect. If replicas differ, the stricter setting applies.
    pub rules: EffectiveRules,
}

/// A planned step of a rotation.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RotationStep)]
pub struct UpcomingStep {
    #[schema(pattern = "^(publish|see|activate|retire|destroy_private_half|remove)$")]
    pub step: &'static str,
    /// Null for a key that does not exist yet.
    pub kid: Option<SigningKeyId>,
    pub algorithm: Option<Algorithm>,
    pub at: Timestamp,
    pub waits_for: WaitReason,
}

/// A replica, as it last reported itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Replica)]
pub struct ReplicaItem {
    pub id: String,
    pub name: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// The key ids in the JWKS of the replica.
    pub published: Vec<String>,
}

/// The settings that govern rotation.
// `rotation_period` is that of this process; the other times are the strictest of all replicas.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RotationRules)]
pub struct EffectiveRules {
    pub rotation_period: Option<Span>,
    pub verifier_cache_ttl: Span,
    pub replica_staleness: Span,
    pub verifier_leeway: Span,
    pub clock_skew: Span,
    pub max_ttl: Span,
    /// The time from which waiting periods count: when a jump of the database clock was
    /// detected, or when a rolled back database was accepted. Null if neither has happened.
    pub stable_since: Option<Timestamp>,
}

/// Everything that a plan depends on, read at one moment.
pub(crate) struct RotationState {
    pub(crate) now: Timestamp,
    pub(crate) keys: Vec<SigningKeyMetadata>,
    pub(crate) rules: RotationRules,
    replicas: Vec<Replica>,
    live_tokens: BTreeMap<SigningKeyId, i64>,
}

impl RotationState {
    pub(crate) async fn load(services: &Services) -> Result<Self, StoreError> {
        let (settings, encryption) = (services.settings.clone(), services.store.encryption());
        services
            .store
            .read_at(move |connection, now| {
                let keys = store::signing::manifest::list(connection, &encryption)?.keys;
                Self::read(connection, &settings, now, keys)
            })
            .await
    }

    /// `keys` are those that Keyswap has written.
    pub(crate) fn read(
        connection: &mut Conn,
        settings: &Settings,
        now: Timestamp,
        keys: Vec<StoredSigningKey>,
    ) -> Result<Self, StoreError> {
        let keys = keys.into_iter().map(|key| key.info).collect();
        let replicas = store::signing::replicas::list(connection)?;
        let required = store::access::audiences::list_required_algorithms(connection)?;
        let (last, stability) = store::signing::clock::read(connection)?;
        let live_tokens = store::signing::live_tokens::count_unexpired(connection, now)?;
        let mut rules = replicas::combine_rules(settings, &replicas, required, stability, now);
        rules.stable_since = stability.after_reading(last, now, rules.timing.clock_skew);
        Ok(Self { now, keys, rules, replicas, live_tokens })
    }

    pub(crate) fn find(&self, kid: &SigningKeyId) -> Option<&SigningKeyMetadata> {
        self.keys.iter().find(|key| key.kid == *kid)
    }

    /// There is at most one next and one active key of an algorithm.
    pub(crate) fn find_in_state(&self, algorithm: Algorithm, state: SigningKeyState) -> Option<&SigningKeyMetadata> {
        self.keys.iter().find(|key| key.algorithm == algorithm && key.state == state)
    }

    /// The steps that are due, without activations of keys that this replica cannot use.
    pub(crate) fn due_steps(&self, unusable: &[SigningKeyId]) -> Vec<PlannedStep> {
        let mut plan = self.rules.plan(&self.keys, self.now);
        plan.retain(|planned| {
            planned.at <= self.now && !matches!(&planned.step, RotationStep::Activate(kid) if unusable.contains(kid))
        });
        plan
    }

    pub(crate) fn describe(&self, key: &SigningKeyMetadata) -> SigningKeyItem {
        let activation = self.rules.activation_time(key, self.now);
        SigningKeyItem {
            may_sign_from: activation.unwrap_or_else(|| self.now.plus(self.rules.timing.propagation_delay())),
            may_be_removed_from: self.rules.removal_time(key, self.now),
            live_tokens: self.live_tokens.get(&key.kid).copied().unwrap_or_default(),
            info: key.clone(),
        }
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let timing = self.rules.timing;
        let running = self.replicas.iter().filter(|replica| replicas::is_running(replica, self.now));
        let plan = self.rules.plan(&self.keys, self.now).into_iter();
        Timeline {
            data: self.keys.iter().map(|key| self.describe(key)).collect(),
            next: None,
            plan: plan
                .map(|PlannedStep { at, step, waits_for }| UpcomingStep {
                    algorithm: self.algorithm_of(&step),
                    step: step.as_str(),
                    kid: step.kid().cloned(),
                    at,
                    waits_for,
                })
                .collect(),
            replicas: running
                .map(|replica| ReplicaItem {
                    id: replica.id.to_string(),
                    name: replica.name.clone(),
                    started_at: replica.started_at,
                    seen_at: replica.last_heartbeat_at,
                    published: replica.published_kids.split_whitespace().map(str::to_owned).collect(),
                })
                .collect(),
            rules: EffectiveRules {
                rotation_period: self.rules.rotation_period,
                verifier_cache_ttl: timing.verifier_cache_ttl,
                replica_staleness: timing.replica_staleness,
                verifier_leeway: timing.verifier_leeway,
                clock_skew: timing.clock_skew,
                max_ttl: timing.max_ttl,
                stable_since: Some(self.rules.stable_since.stable_since).filter(|since| since.millis() > 0),
            },
        }
    }

    /// The values for metrics: the age of the oldest key in each state, and the time until the next
    /// step of each kind.
    pub(crate) fn collect_metrics(&self) -> SigningKeys {
        let mut metrics = SigningKeys::default();
        for key in self.keys.iter().filter(|key| key.state.is_published()) {
            let since = key.retired_at.or(key.activated_at).unwrap_or(key.published_at);
            let age = self.now.elapsed_since(since).duration();
            let oldest = metrics.ages.entry((key.algorithm.as_str(), key.state.as_str())).or_insert(age);
            *oldest = age.max(*oldest);
        }
        for planned in self.rules.plan(&self.keys, self.now) {
            let seconds = |from: Timestamp, to: Timestamp| to.elapsed_since(from).duration().as_secs_f64();
            let wait = seconds(self.now, planned.at) - seconds(planned.at, self.now);
            // The plan is in order of time, so the first step of a kind is the soonest.
            metrics.steps.entry(planned.step.as_str()).or_insert(wait);
        }
        metrics
    }

    pub(crate) fn algorithm_of(&self, step: &RotationStep) -> Option<Algorithm> {
        match (step, step.kid()) {
            (RotationStep::Publish(algorithm), _) => Some(*algorithm),
            (_, kid) => Some(self.find(kid?)?.algorithm),
        }
    }
}
