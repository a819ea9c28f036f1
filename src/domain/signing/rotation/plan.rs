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
        Algorithm, SigningKeyInfo, SigningKeyState,
        rotation::timing::{Steady, Timing},
    },
};

/// Rotation rules of a deployment: the strictest settings of all its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub timing: Timing,
    /// How long a key signs; `None` if only an operator rotates.
    pub period: Option<Span>,
    /// Algorithms that the replicas are configured with: one, except during a change.
    pub configured: BTreeSet<Algorithm>,
    /// Algorithms that audiences require.
    pub asked: BTreeSet<Algorithm>,
    pub steady: Steady,
}

/// One transition of one signing key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Generates and publishes a key of this algorithm, to follow the active one.
    Publish(Algorithm),
    /// Records that another transaction read the publication. The propagation delay counts from
    /// then, however long the publishing transaction took to commit.
    See(SigningKeyId),
    /// The key signs, in place of the active key of its algorithm.
    Activate(SigningKeyId),
    /// The key stops signing, because its algorithm is no longer required.
    Retire(SigningKeyId),
    /// The private key is destroyed, so that no replica can sign with it.
    Destroy(SigningKeyId),
    /// The key is removed from the JWKS.
    Remove(SigningKeyId),
}

impl Step {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::See(_) => "see",
            Self::Activate(_) => "activate",
            Self::Retire(_) => "retire",
            Self::Destroy(_) => "destroy_private_half",
            Self::Remove(_) => "remove",
        }
    }

    /// Returns `None` for a key that does not exist yet.
    pub const fn kid(&self) -> Option<&SigningKeyId> {
        match self {
            Self::Publish(_) => None,
            Self::See(kid) | Self::Activate(kid) | Self::Retire(kid) | Self::Destroy(kid) | Self::Remove(kid) => {
                Some(kid)
            }
        }
    }
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
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
pub struct Planned {
    pub at: Timestamp,
    pub step: Step,
    pub waits_for: Wait,
}

impl Rules {
    /// Returns whether a token may have to be signed with this algorithm.
    pub fn uses(&self, algorithm: Algorithm) -> bool {
        self.configured.contains(&algorithm) || self.asked.contains(&algorithm)
    }

    fn count_from(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        self.steady.count_from(at, now, self.timing.clock_skew)
    }

    /// Returns from when a next key may sign (invariant K1); `None` until another transaction has
    /// read its publication.
    pub fn may_sign_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.seen_at.map(|seen| self.count_from(seen, now).after(self.timing.until_known()))
    }

    /// Returns from when the private key of a retired key may be destroyed; `None` if it has not
    /// retired.
    pub fn may_be_destroyed_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.count_from(at, now).after(self.timing.until_unused()))
    }

    /// Returns from when a retired key may be removed from the JWKS (invariant K2); `None` if it
    /// has not retired.
    pub fn may_be_removed_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.count_from(at, now).after(self.timing.until_dead(key.longest_ttl)))
    }

    /// Returns the next steps of all keys, the earliest first. A step that is due at `now` can be
    /// executed at once.
    pub fn plan(&self, keys: &[SigningKeyInfo], now: Timestamp) -> Vec<Planned> {
        let mut planned: Vec<_> = keys.iter().flat_map(|key| self.of_key(keys, key, now)).collect();
        let wanted: BTreeSet<_> = self.configured.union(&self.asked).copied().collect();
        let missing = wanted.into_iter().filter(|algorithm| !has(keys, *algorithm, SigningKeyState::Next));
        planned.extend(missing.map(|algorithm| due(now, Step::Publish(algorithm))));
        planned.sort_by(|one, other| (one.at, &one.step).cmp(&(other.at, &other.step)));
        planned
    }

    fn of_key(&self, keys: &[SigningKeyInfo], key: &SigningKeyInfo, now: Timestamp) -> Vec<Planned> {
        let kid = || key.kid.clone();
        match key.state {
            // The key never signed, so that no token depends on it.
            SigningKeyState::Next if !self.uses(key.algorithm) => vec![due(now, Step::Remove(kid()))],
            SigningKeyState::Next => match self.may_sign_from(key, now) {
                None => vec![due(now, Step::See(kid()))],
                Some(known) => self.activation(keys, key, known, now).into_iter().collect(),
            },
            SigningKeyState::Active if self.is_replaced(keys, key) => vec![due(now, Step::Retire(kid()))],
            SigningKeyState::Active | SigningKeyState::Removed | SigningKeyState::Revoked => Vec::new(),
            SigningKeyState::Retiring => {
                let destroyed = self.may_be_destroyed_from(key, now).filter(|_| key.destroyed_at.is_none());
                let destroyed = destroyed.map(|at| later(at, now, Step::Destroy(kid()), Wait::Replicas));
                let removed = self.may_be_removed_from(key, now);
                let removed = removed.map(|at| later(at, now, Step::Remove(kid()), Wait::Tokens));
                destroyed.into_iter().chain(removed).collect()
            }
        }
    }

    /// Returns when a next key starts to sign without an operator: after every verifier can have
    /// fetched it, and the active key has signed for its period.
    fn activation(
        &self,
        keys: &[SigningKeyInfo],
        key: &SigningKeyInfo,
        known: Timestamp,
        now: Timestamp,
    ) -> Option<Planned> {
        let step = Step::Activate(key.kid.clone());
        let signs =
            |other: &&SigningKeyInfo| other.state == SigningKeyState::Active && other.algorithm == key.algorithm;
        let Some(active) = keys.iter().find(signs) else {
            // A key of another algorithm signs in its place. Without a period, the change of the
            // algorithm takes effect when an operator rotates.
            let stands_in = self.period.is_none() && !self.asked.contains(&key.algorithm);
            let waits = stands_in && keys.iter().any(|other| other.state == SigningKeyState::Active);
            return (!waits).then(|| later(known, now, step, Wait::Verifiers));
        };
        let since = active.activated_at.map_or(self.steady.since, |at| self.count_from(at, now));
        let ends = since.after(self.period?);
        let wait = if ends > known { Wait::Period } else { Wait::Verifiers };
        Some(later(known.max(ends), now, step, wait))
    }

    /// Returns whether the algorithm of a key is no longer in use, and every configured algorithm
    /// has an active key.
    fn is_replaced(&self, keys: &[SigningKeyInfo], key: &SigningKeyInfo) -> bool {
        !self.uses(key.algorithm)
            && self.configured.iter().all(|algorithm| has(keys, *algorithm, SigningKeyState::Active))
    }
}

fn due(now: Timestamp, step: Step) -> Planned {
    Planned { at: now, step, waits_for: Wait::Due }
}

fn later(at: Timestamp, now: Timestamp, step: Step, waits_for: Wait) -> Planned {
    if at <= now { due(now, step) } else { Planned { at, step, waits_for } }
}

/// Returns whether one of the keys has this algorithm and this state.
pub fn has(keys: &[SigningKeyInfo], algorithm: Algorithm, state: SigningKeyState) -> bool {
    keys.iter().any(|key| key.algorithm == algorithm && key.state == state)
}
