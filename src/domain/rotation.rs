//! When a signing key may sign and when it may go (the bounds I1 and I2). Arithmetic over times, nothing else.

use super::{
    signing::{SigningKeyInfo, SigningKeyState},
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
}
