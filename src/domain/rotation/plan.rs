//! What happens to the signing keys, and when. Pure: the same keys and the same rules at the same moment give the same plan on every
//! replica, and what is printed is what will be done.

use std::collections::BTreeSet;

use crate::domain::{
    id::SigningKeyId,
    signing::{Algorithm, SigningKeyInfo, SigningKeyState},
    time::{Span, Timestamp},
};

use super::timing::{Steady, Timing};

/// The rules by which the keys of a deployment are moved: the stricter ones of all its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub timing: Timing,
    /// How long a key signs; absent: until somebody rotates.
    pub period: Option<Span>,
    /// The algorithms that replicas are configured for: one, but for the time of a change.
    pub configured: BTreeSet<Algorithm>,
    /// Those that audiences ask for.
    pub asked: BTreeSet<Algorithm>,
    pub steady: Steady,
}

/// One move of one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of this algorithm is made and published, to follow the one that signs.
    Publish(Algorithm),
    /// The publication was seen by another transaction: from here on its time counts, whatever the first one waited for.
    See(SigningKeyId),
    /// The key signs, in place of the one of its algorithm.
    Activate(SigningKeyId),
    /// The key signs no more: nobody asks for its algorithm.
    Retire(SigningKeyId),
    /// The private half is destroyed: no replica can sign by it any more.
    Destroy(SigningKeyId),
    /// The key leaves the JWKS.
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

    /// Absent for a key that is not made yet.
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
    /// Nothing: it is due.
    Due,
    /// Until every verifier can know the key.
    Verifiers,
    /// Until the key that signs has signed for its period.
    Period,
    /// Until every replica knows that the key signs no more.
    Replicas,
    /// Until the last token by the key is dead for every verifier.
    Tokens,
}

/// A step, and from when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub at: Timestamp,
    pub step: Step,
    pub waits_for: Wait,
}

impl Rules {
    /// Whether some token may have to be signed by this algorithm.
    pub fn uses(&self, algorithm: Algorithm) -> bool {
        self.configured.contains(&algorithm) || self.asked.contains(&algorithm)
    }

    fn count_from(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        self.steady.count_from(at, now, self.timing.clock_skew)
    }

    /// From when a next key may sign (I1); absent while its publication was seen by nobody.
    pub fn may_sign_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.seen_at.map(|seen| self.count_from(seen, now).after(self.timing.until_known()))
    }

    /// From when the private half of a key can go.
    pub fn may_be_destroyed_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.count_from(at, now).after(self.timing.until_unused()))
    }

    /// From when a retired key may leave the JWKS (I2); absent while it signs.
    pub fn may_be_removed_from(&self, key: &SigningKeyInfo, now: Timestamp) -> Option<Timestamp> {
        key.retired_at.map(|at| self.count_from(at, now).after(self.timing.until_dead(key.longest_ttl)))
    }

    /// The next step of each key, soonest first. What is due at `now` can be done at once.
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
            // It never signed: no token misses it.
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

    /// When a next key signs by itself: once every verifier knows it, and the key before it has signed for its period.
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
            // Another one signs in its place: where nothing rotates by itself, the algorithm is changed by whoever rotates.
            let stands_in = self.period.is_none() && !self.asked.contains(&key.algorithm);
            let waits = stands_in && keys.iter().any(|other| other.state == SigningKeyState::Active);
            return (!waits).then(|| later(known, now, step, Wait::Verifiers));
        };
        let since = active.activated_at.map_or(self.steady.since, |at| self.count_from(at, now));
        let ends = since.after(self.period?);
        let wait = if ends > known { Wait::Period } else { Wait::Verifiers };
        Some(later(known.max(ends), now, step, wait))
    }

    /// Whether a key signs by an algorithm that nobody asks for, and all that somebody asks for have one that signs.
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

/// Whether a key of this algorithm is in this state.
pub fn has(keys: &[SigningKeyInfo], algorithm: Algorithm, state: SigningKeyState) -> bool {
    keys.iter().any(|key| key.algorithm == algorithm && key.state == state)
}
