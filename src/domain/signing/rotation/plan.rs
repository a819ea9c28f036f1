//! Plan of the rotation: the next steps of the signing keys and their times. The plan is pure: the
//! same keys, rules and time give the same plan on every replica, and the displayed plan is the one
//! that is executed.

use std::collections::BTreeSet;

use crate::domain::{
    common::{
        derived_id::SigningKeyId,
        time::{Span, Timestamp},
    },
    signing::{
        Algorithm, SigningKeyMetadata, SigningKeyState,
        rotation::timing::{ClockStability, RotationTiming},
    },
};

/// Rotation rules of a deployment: the strictest settings of all its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationRules {
    pub timing: RotationTiming,
    /// How long a key signs; `None` if only an operator rotates.
    pub rotation_period: Option<Span>,
    /// Algorithms that the replicas are configured with: one, except during a change.
    pub configured_algorithms: BTreeSet<Algorithm>,
    /// Algorithms that audiences require.
    pub audience_algorithms: BTreeSet<Algorithm>,
    pub stable_since: ClockStability,
}

/// One transition of one signing key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RotationStep {
    /// Generates and publishes a key of this algorithm, to follow the active one.
    Publish(Algorithm),
    /// Records that another transaction read the publication. The propagation delay counts from
    /// then, however long the publishing transaction took to commit.
    ConfirmPublication(SigningKeyId),
    /// The key signs, in place of the active key of its algorithm.
    Activate(SigningKeyId),
    /// The key stops signing, because its algorithm is no longer required.
    Retire(SigningKeyId),
    /// The private key is destroyed, so that no replica can sign with it.
    DestroyPrivateKey(SigningKeyId),
    /// The key is removed from the JWKS.
    Remove(SigningKeyId),
}

impl RotationStep {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::ConfirmPublication(_) => "see",
            Self::Activate(_) => "activate",
            Self::Retire(_) => "retire",
            Self::DestroyPrivateKey(_) => "destroy_private_half",
            Self::Remove(_) => "remove",
        }
    }

    /// Returns `None` for a key that does not exist yet.
    pub const fn kid(&self) -> Option<&SigningKeyId> {
        match self {
            Self::Publish(_) => None,
            Self::ConfirmPublication(kid)
            | Self::Activate(kid)
            | Self::Retire(kid)
            | Self::DestroyPrivateKey(kid)
            | Self::Remove(kid) => Some(kid),
        }
    }
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Nothing: the step is due.
    Due,
    /// Every verifier can have fetched the key.
    Verifiers,
    /// The active key has signed for its period.
    Period,
    /// Every replica has stopped signing with the key.
    Replicas,
    /// The last token signed with the key has expired for every verifier.
    Tokens,
}

/// A step, and the time from which it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    pub at: Timestamp,
    pub step: RotationStep,
    pub waits_for: WaitReason,
}

impl RotationRules {
    /// Returns whether a token may have to be signed with this algorithm.
    pub fn requires_algorithm(&self, algorithm: Algorithm) -> bool {
        self.configured_algorithms.contains(&algorithm) || self.audience_algorithms.contains(&algorithm)
    }

    fn delay_start(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        self.stable_since.delay_start(at, now, self.timing.clock_skew)
    }

    /// Returns from when a next key may sign (invariant K1); `None` until another transaction has
    /// read its publication.
    pub fn activation_time(&self, key: &SigningKeyMetadata, now: Timestamp) -> Option<Timestamp> {
        key.seen_at.map(|seen| self.delay_start(seen, now).plus(self.timing.propagation_delay()))
    }

    /// Returns from when the private key of a retired key may be destroyed; `None` if it has not
    /// retired.
    pub fn private_key_destruction_time(&self, key: &SigningKeyMetadata, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.delay_start(at, now).plus(self.timing.signing_stop_delay()))
    }

    /// Returns from when a retired key may be removed from the JWKS (invariant K2); `None` if it
    /// has not retired.
    pub fn removal_time(&self, key: &SigningKeyMetadata, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.delay_start(at, now).plus(self.timing.token_expiration_delay(key.longest_ttl)))
    }

    /// Returns the next steps of all keys, the earliest first. A step that is due at `now` can be
    /// executed at once.
    pub fn plan(&self, keys: &[SigningKeyMetadata], now: Timestamp) -> Vec<PlannedStep> {
        let mut planned: Vec<_> = keys.iter().flat_map(|key| self.plan_key_steps(keys, key, now)).collect();
        let required: BTreeSet<_> = self.configured_algorithms.union(&self.audience_algorithms).copied().collect();
        let missing =
            required.into_iter().filter(|algorithm| !has_key_in_state(keys, *algorithm, SigningKeyState::Next));
        planned.extend(missing.map(|algorithm| due_step(now, RotationStep::Publish(algorithm))));
        planned.sort_by(|one, other| (one.at, &one.step).cmp(&(other.at, &other.step)));
        planned
    }

    fn plan_key_steps(
        &self,
        keys: &[SigningKeyMetadata],
        key: &SigningKeyMetadata,
        now: Timestamp,
    ) -> Vec<PlannedStep> {
        let kid = || key.kid.clone();
        match key.state {
            // The key never signed, so that no token depends on it.
            SigningKeyState::Next if !self.requires_algorithm(key.algorithm) => {
                vec![due_step(now, RotationStep::Remove(kid()))]
            }
            SigningKeyState::Next => match self.activation_time(key, now) {
                None => vec![due_step(now, RotationStep::ConfirmPublication(kid()))],
                Some(known) => self.plan_activation(keys, key, known, now).into_iter().collect(),
            },
            SigningKeyState::Active if self.is_superseded(keys, key) => {
                vec![due_step(now, RotationStep::Retire(kid()))]
            }
            SigningKeyState::Active | SigningKeyState::Removed | SigningKeyState::Revoked => Vec::new(),
            SigningKeyState::Retiring => {
                let destroyed = self.private_key_destruction_time(key, now).filter(|_| key.destroyed_at.is_none());
                let destroyed = destroyed
                    .map(|at| scheduled_step(at, now, RotationStep::DestroyPrivateKey(kid()), WaitReason::Replicas));
                let removed = self.removal_time(key, now);
                let removed =
                    removed.map(|at| scheduled_step(at, now, RotationStep::Remove(kid()), WaitReason::Tokens));
                destroyed.into_iter().chain(removed).collect()
            }
        }
    }

    /// Returns when a next key starts to sign without an operator: after every verifier can have
    /// fetched it, and the active key has signed for its period.
    fn plan_activation(
        &self,
        keys: &[SigningKeyMetadata],
        key: &SigningKeyMetadata,
        known: Timestamp,
        now: Timestamp,
    ) -> Option<PlannedStep> {
        let step = RotationStep::Activate(key.kid.clone());
        let signs =
            |other: &&SigningKeyMetadata| other.state == SigningKeyState::Active && other.algorithm == key.algorithm;
        let Some(active) = keys.iter().find(signs) else {
            // A key of another algorithm signs in its place. Without a period, the change of the
            // algorithm takes effect when an operator rotates.
            let is_change = self.rotation_period.is_none() && !self.audience_algorithms.contains(&key.algorithm);
            let waits = is_change && keys.iter().any(|other| other.state == SigningKeyState::Active);
            return (!waits).then(|| scheduled_step(known, now, step, WaitReason::Verifiers));
        };
        let since = active.activated_at.map_or(self.stable_since.stable_since, |at| self.delay_start(at, now));
        let ends = since.plus(self.rotation_period?);
        let wait = if ends > known { WaitReason::Period } else { WaitReason::Verifiers };
        Some(scheduled_step(known.max(ends), now, step, wait))
    }

    /// Returns whether the algorithm of a key is no longer in use, and every configured algorithm
    /// has an active key.
    fn is_superseded(&self, keys: &[SigningKeyMetadata], key: &SigningKeyMetadata) -> bool {
        !self.requires_algorithm(key.algorithm)
            && self
                .configured_algorithms
                .iter()
                .all(|algorithm| has_key_in_state(keys, *algorithm, SigningKeyState::Active))
    }
}

fn due_step(now: Timestamp, step: RotationStep) -> PlannedStep {
    PlannedStep { at: now, step, waits_for: WaitReason::Due }
}

fn scheduled_step(at: Timestamp, now: Timestamp, step: RotationStep, waits_for: WaitReason) -> PlannedStep {
    if at <= now { due_step(now, step) } else { PlannedStep { at, step, waits_for } }
}

/// Returns whether one of the keys has this algorithm and this state.
pub fn has_key_in_state(keys: &[SigningKeyMetadata], algorithm: Algorithm, state: SigningKeyState) -> bool {
    keys.iter().any(|key| key.algorithm == algorithm && key.state == state)
}
