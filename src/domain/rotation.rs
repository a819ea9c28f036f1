//! When a signing key may sign and when it may go (the bounds I1 and I2). Arithmetic over times, nothing else.

use std::collections::BTreeSet;

use super::{
    signing::{Algorithm, SigningKeyInfo, SigningKeyState},
    time::{Span, Timestamp},
};

/// What verifiers and replicas may do at worst; all from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a verifier may use a JWKS it has fetched.
    pub verifier_cache_ttl: Span,
    /// How old a replica's view of the keys may be.
    pub replica_staleness: Span,
    /// How long past `exp` a verifier may accept a token.
    pub verifier_leeway: Span,
    /// How far two clocks may be apart.
    pub clock_skew: Span,
    /// The longest life of any token.
    pub max_ttl: Span,
}

impl Timing {
    /// From when a key may sign: every cache that a verifier may still use was filled after the key was published (I1).
    pub fn may_sign_from(&self, published_at: Timestamp) -> Timestamp {
        published_at.after(self.replica_staleness + self.verifier_cache_ttl + self.clock_skew)
    }

    /// From when a retired key may leave the JWKS: the last token it signed is dead for every verifier (I2).
    /// Its tokens live as long as they were given, whatever `max_ttl` is today; absent while it signs.
    pub fn may_be_removed_from(&self, key: &SigningKeyInfo) -> Option<Timestamp> {
        let longest = key.longest_ttl.max(self.max_ttl);
        key.retired_at.map(|at| at.after(self.replica_staleness + longest + self.verifier_leeway + self.clock_skew))
    }

    /// Whether a key can leave the JWKS at `now`.
    pub fn is_removable(&self, key: &SigningKeyInfo, now: Timestamp) -> bool {
        key.state == SigningKeyState::Retiring && self.may_be_removed_from(key).is_some_and(|from| from <= now)
    }

    /// The next keys that begin to sign by themselves: those of an algorithm that an audience asks for, and that nothing signs
    /// by yet, once every verifier can know them.
    pub fn may_begin<'a>(
        self,
        keys: &'a [SigningKeyInfo],
        asked: &'a BTreeSet<Algorithm>,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a SigningKeyInfo> {
        keys.iter().filter(move |key| {
            key.state == SigningKeyState::Next
                && asked.contains(&key.algorithm)
                && !has(keys, key.algorithm, SigningKeyState::Active)
                && self.may_sign_from(key.published_at) <= now
        })
    }
}

/// Whether a key of this algorithm is in this state.
pub fn has(keys: &[SigningKeyInfo], algorithm: Algorithm, state: SigningKeyState) -> bool {
    keys.iter().any(|key| key.algorithm == algorithm && key.state == state)
}

/// What a rotation to the next key of `algorithm` does to another key: the one that it follows steps back, and with it those of
/// algorithms that neither the configuration nor an audience asks for any more. The others go on signing.
pub fn after_rotation(
    key: &SigningKeyInfo,
    algorithm: Algorithm,
    asked: &BTreeSet<Algorithm>,
) -> Option<SigningKeyState> {
    let is_in_use = key.algorithm == algorithm || asked.contains(&key.algorithm);
    match key.state {
        SigningKeyState::Active if key.algorithm == algorithm || !is_in_use => Some(SigningKeyState::Retiring),
        // It never signed: no token misses it.
        SigningKeyState::Next if !is_in_use => Some(SigningKeyState::Removed),
        SigningKeyState::Next
        | SigningKeyState::Active
        | SigningKeyState::Retiring
        | SigningKeyState::Removed
        | SigningKeyState::Revoked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Timing = Timing {
        verifier_cache_ttl: Span::from_secs(3600),
        replica_staleness: Span::from_secs(30),
        verifier_leeway: Span::from_secs(60),
        clock_skew: Span::from_secs(30),
        max_ttl: Span::from_secs(3600),
    };

    fn key(algorithm: Algorithm, state: SigningKeyState) -> SigningKeyInfo {
        SigningKeyInfo {
            kid: format!("{:A<43}", format!("{algorithm}{}", state.as_str())).parse().unwrap(),
            algorithm,
            state,
            published_at: Timestamp::from_millis(0),
            activated_at: None,
            retired_at: None,
            removed_at: None,
            longest_ttl: Span::ZERO,
            version: 1,
        }
    }

    #[test]
    fn only_a_key_that_someone_waits_for_begins_and_only_when_it_may() {
        use {Algorithm::*, SigningKeyState::*};
        let keys = [
            key(Es256, Active),
            key(Es256, Next),
            key(Rs256, Next),
            key(EdDsa, Next),
            key(Es384, Retiring),
            key(Es384, Next),
        ];
        let asked = [Es256, Rs256, Es384, Ps256].into();
        let begun = |now: i64| -> Vec<_> {
            HOUR.may_begin(&keys, &asked, Timestamp::from_millis(now)).map(|key| key.algorithm).collect()
        };
        assert_eq!(begun(3_660_000), [Rs256, Es384]);
        assert!(begun(3_659_999).is_empty());
    }

    #[test]
    fn a_rotation_moves_its_own_algorithm_and_those_that_nobody_asks_for() {
        use {Algorithm::*, SigningKeyState::*};
        let asked = [Rs256].into();
        for (algorithm, state, expected) in [
            (Es256, Active, Some(Retiring)),
            (Es256, Next, None),
            (Rs256, Active, None),
            (Rs256, Next, None),
            (EdDsa, Active, Some(Retiring)),
            (EdDsa, Next, Some(Removed)),
            (EdDsa, Retiring, None),
            (EdDsa, Removed, None),
            (EdDsa, Revoked, None),
        ] {
            assert_eq!(after_rotation(&key(algorithm, state), Es256, &asked), expected, "{algorithm} {state:?}");
        }
    }
}
