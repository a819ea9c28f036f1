//! The signing keys, replicas and rules of the deployment, as one transaction reads them.

use crate::{
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        signing::{
            Algorithm, SigningKeyInfo,
            rotation::{Planned, Rules, Step, Wait},
        },
    },
    service::{App, Settings, replicas},
    store::{self, Conn, StoreError, signing::replicas::Replica},
    telemetry::metrics::SigningKeys,
};
use std::collections::BTreeMap;

/// A signing key with the times that are relevant to a rotation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    #[serde(flatten)]
    pub info: SigningKeyInfo,
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
    pub replicas: Vec<ReplicaTold>,
    /// The rules in effect.
    pub rules: RulesTold,
}

/// A planned step.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Upcoming {
    pub step: &'static str,
    /// Absent for a key that does not exist yet.
    pub kid: Option<SigningKeyId>,
    pub algorithm: Option<Algorithm>,
    pub at: Timestamp,
    pub waits_for: Wait,
}

/// A server, as it reported itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReplicaTold {
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
pub struct RulesTold {
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
    pub(crate) keys: Vec<SigningKeyInfo>,
    replicas: Vec<Replica>,
    pub(crate) rules: Rules,
}

impl Looked {
    pub(crate) fn at(connection: &mut Conn, settings: &Settings, now: Timestamp) -> Result<Self, StoreError> {
        let keys = store::signing::signing_keys::list(connection, false)?.into_iter().map(|key| key.info).collect();
        let replicas = store::signing::replicas::list(connection)?;
        let asked = store::access::audiences::algorithms(connection)?;
        let (last, steady) = store::signing::clock::read(connection)?;
        let mut rules = replicas::rules(settings, &replicas, asked, steady, now);
        rules.steady = steady.seen(last, now, rules.timing.clock_skew);
        Ok(Self { keys, replicas, rules })
    }

    /// The steps that are due, without activations of keys that this replica cannot use.
    pub(crate) fn due(&self, now: Timestamp, unusable: &[SigningKeyId]) -> Vec<Planned> {
        let due = self.rules.plan(&self.keys, now).into_iter().filter(|planned| planned.at <= now);
        due.filter(|planned| !matches!(&planned.step, Step::Activate(kid) if unusable.contains(kid))).collect()
    }

    pub(crate) fn listed(&self, key: &SigningKeyInfo, now: Timestamp, live: &BTreeMap<SigningKeyId, i64>) -> Listed {
        let known = self.rules.may_sign_from(key, now);
        Listed {
            may_sign_from: known.unwrap_or_else(|| now.after(self.rules.timing.until_known())),
            may_be_removed_from: self.rules.may_be_removed_from(key, now),
            live_tokens: live.get(&key.kid).copied().unwrap_or_default(),
            info: key.clone(),
        }
    }

    pub(crate) fn timeline(&self, now: Timestamp, live: &BTreeMap<SigningKeyId, i64>) -> Timeline {
        let timing = self.rules.timing;
        Timeline {
            data: self.keys.iter().map(|key| self.listed(key, now, live)).collect(),
            next: None,
            plan: self.rules.plan(&self.keys, now).into_iter().map(|planned| self.upcoming(planned)).collect(),
            replicas: self
                .replicas
                .iter()
                .filter(|replica| replicas::is_up(replica, now))
                .map(|replica| ReplicaTold {
                    id: replica.id.to_string(),
                    name: replica.name.clone(),
                    started_at: replica.started_at,
                    seen_at: replica.seen_at,
                    published: replica.published.split_whitespace().map(str::to_owned).collect(),
                })
                .collect(),
            rules: RulesTold {
                rotation_period: self.rules.period,
                verifier_cache_ttl: timing.verifier_cache_ttl,
                replica_staleness: timing.replica_staleness,
                verifier_leeway: timing.verifier_leeway,
                clock_skew: timing.clock_skew,
                max_ttl: timing.max_ttl,
                steady_since: Some(self.rules.steady.since).filter(|since| since.millis() > 0),
            },
        }
    }

    /// The values for metrics: the age of the oldest key in each state, and the time until the next
    /// step of each kind.
    pub(crate) fn measured(&self, plan: &[Planned], now: Timestamp) -> SigningKeys {
        let mut ages = BTreeMap::new();
        for key in self.keys.iter().filter(|key| key.state.is_published()) {
            let since = key.retired_at.or(key.activated_at).unwrap_or(key.published_at);
            let age = now.since(since).duration();
            let oldest = ages.entry((key.algorithm.as_str(), key.state.as_str())).or_insert(age);
            *oldest = age.max(*oldest);
        }
        let mut steps = BTreeMap::new();
        for planned in plan {
            let wait = if planned.at >= now {
                planned.at.since(now).duration().as_secs_f64()
            } else {
                -now.since(planned.at).duration().as_secs_f64()
            };
            // The plan is in order of time, so the first step of a kind is the soonest.
            steps.entry(planned.step.as_str()).or_insert(wait);
        }
        SigningKeys {
            ages: ages.into_iter().map(|((algorithm, state), age)| (algorithm, state, age)).collect(),
            steps: steps.into_iter().collect(),
        }
    }

    fn upcoming(&self, planned: Planned) -> Upcoming {
        let Planned { at, step, waits_for } = planned;
        let of = |kid: &SigningKeyId| self.keys.iter().find(|key| key.kid == *kid).map(|key| key.algorithm);
        let algorithm = match &step {
            Step::Publish(algorithm) => Some(*algorithm),
            Step::See(kid) | Step::Activate(kid) | Step::Retire(kid) | Step::Destroy(kid) | Step::Remove(kid) => {
                of(kid)
            }
        };
        Upcoming { step: step.as_str(), kid: step.kid().cloned(), algorithm, at, waits_for }
    }
}

/// Refreshes the snapshot after a commit. A failure does not undo the change, and the background
/// job refreshes again within seconds.
pub(crate) async fn look_again(app: &App) {
    if let Err(error) = app.keys.refresh(&app.store, &app.master).await {
        tracing::warn!(%error, "the signing keys could not be looked at");
    }
}
