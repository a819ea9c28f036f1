//! When a signing key may sign, when its private half can go, and when it may leave the JWKS.

use crate::domain::time::{Span, Timestamp};

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
    /// The stricter of each: replicas that run with different settings must all be right.
    pub fn stricter(self, other: Self) -> Self {
        Self {
            verifier_cache_ttl: self.verifier_cache_ttl.max(other.verifier_cache_ttl),
            replica_staleness: self.replica_staleness.max(other.replica_staleness),
            verifier_leeway: self.verifier_leeway.max(other.verifier_leeway),
            clock_skew: self.clock_skew.max(other.clock_skew),
            max_ttl: self.max_ttl.max(other.max_ttl),
        }
    }

    /// How long a key stands published before it signs: every cache that a verifier may still use was filled after that (I1).
    pub fn until_known(self) -> Span {
        self.replica_staleness + self.verifier_cache_ttl + self.clock_skew
    }

    /// How long after a key retired some replica may still sign by it.
    pub fn until_unused(self) -> Span {
        self.replica_staleness + self.clock_skew
    }

    /// How long after a key retired the last token that it signed is dead for every verifier (I2). Its tokens live as long as they were
    /// given, whatever `max_ttl` is today.
    pub fn until_dead(self, longest_ttl: Span) -> Span {
        self.replica_staleness + longest_ttl.max(self.max_ttl) + self.verifier_leeway + self.clock_skew
    }

    /// How long a replica counts that was not heard of: verifiers may use what it handed out, and it may sign by what it knows. It may have told
    /// of itself a while before it was cut off.
    pub fn until_forgotten(self) -> Span {
        let in_use = self.verifier_cache_ttl.max(self.max_ttl + self.verifier_leeway);
        self.tells_every() + self.replica_staleness + in_use + self.clock_skew
    }

    /// How often a replica tells of itself.
    pub fn tells_every(self) -> Span {
        Span::from(self.replica_staleness.duration() / 3)
    }
}

/// Since when the database's clock has gone at its pace. A wait that began before a jump of the clock begins anew when the jump was noticed:
/// nobody can tell how much of it has passed (I10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steady {
    pub since: Timestamp,
}

impl Steady {
    /// A clock that never jumped.
    pub const ALWAYS: Self = Self { since: Timestamp::from_millis(0) };

    /// As it holds at `now`, when the clock was seen at `last` before. Where that lies ahead, the clock was set back and nobody has noticed yet:
    /// nothing has waited at all.
    #[must_use]
    pub fn seen(self, last: Timestamp, now: Timestamp, tolerance: Span) -> Self {
        if now.after(tolerance) < last { Self { since: now } } else { self }
    }

    /// From when a wait counts that began at `at`. What lies further ahead than two clocks may be apart was written before the clock was set
    /// back: it counts from when that was noticed, and from nowhere while it was not.
    pub fn count_from(self, at: Timestamp, now: Timestamp, tolerance: Span) -> Timestamp {
        if at <= now {
            at.max(self.since.min(now))
        } else if at <= now.after(tolerance) {
            at
        } else if self == Self::ALWAYS {
            now
        } else {
            self.since.min(now)
        }
    }
}
