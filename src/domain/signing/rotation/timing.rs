//! Delays of the rotation: when a signing key may sign, when its private key may be destroyed, and
//! when it may be removed from the JWKS.

use crate::domain::common::time::{Span, Timestamp};

/// Worst-case behavior of verifiers and replicas, from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationTiming {
    /// How long a verifier may use a JWKS after fetching it.
    pub verifier_cache_ttl: Span,
    /// Maximum age of a replica's snapshot of the signing keys.
    pub replica_staleness: Span,
    /// How long after `exp` a verifier may accept a token.
    pub verifier_leeway: Span,
    /// Maximum difference between two clocks.
    pub clock_skew: Span,
    /// Maximum lifetime of any token.
    pub max_ttl: Span,
}

impl RotationTiming {
    /// Returns the stricter value of each setting. Replicas with different settings must all be
    /// correct.
    pub fn strictest(self, other: Self) -> Self {
        Self {
            verifier_cache_ttl: self.verifier_cache_ttl.max(other.verifier_cache_ttl),
            replica_staleness: self.replica_staleness.max(other.replica_staleness),
            verifier_leeway: self.verifier_leeway.max(other.verifier_leeway),
            clock_skew: self.clock_skew.max(other.clock_skew),
            max_ttl: self.max_ttl.max(other.max_ttl),
        }
    }

    /// Returns how long a key is published before it signs: by then, every cache that a verifier
    /// may still use was filled after the publication (invariant K1).
    pub fn propagation_delay(self) -> Span {
        self.replica_staleness + self.verifier_cache_ttl + self.clock_skew
    }

    /// Returns how long after the retirement of a key a replica may still sign with it.
    pub fn signing_stop_delay(self) -> Span {
        self.replica_staleness + self.clock_skew
    }

    /// Returns how long after the retirement of a key a verifier may still accept its last token
    /// (invariant K2). Tokens keep the lifetime with which they were issued, regardless of the
    /// current `max_ttl`.
    pub fn token_expiration_delay(self, longest_ttl: Span) -> Span {
        self.replica_staleness + longest_ttl.max(self.max_ttl) + self.verifier_leeway + self.clock_skew
    }

    /// Returns how long the settings of a replica apply after its last report: verifiers may use
    /// what it served, and it may sign with its snapshot. The last report may precede the
    /// disconnection of the replica by `report_interval`.
    pub fn replica_retention(self) -> Span {
        let in_use = self.verifier_cache_ttl.max(self.max_ttl + self.verifier_leeway);
        self.report_interval() + self.replica_staleness + in_use + self.clock_skew
    }

    /// Returns the interval at which a replica reports that it is running.
    pub fn report_interval(self) -> Span {
        Span::from(self.replica_staleness.duration() / 3)
    }
}

/// The time since which the database clock has run without a jump. A delay that began before a jump
/// restarts when the jump is detected, because the elapsed part of it cannot be determined
/// (invariant K8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStability {
    pub stable_since: Timestamp,
}

impl ClockStability {
    /// A clock that has never jumped.
    pub const NO_JUMP: Self = Self { stable_since: Timestamp::from_millis(0) };

    /// Returns the value that applies at `now` if the clock was read at `last` before. If `last` is
    /// ahead of `now` by more than `tolerance`, the clock was set back and the jump is not detected
    /// yet: no part of any delay has elapsed.
    #[must_use]
    pub fn after_reading(self, last: Timestamp, now: Timestamp, tolerance: Span) -> Self {
        if now.plus(tolerance) < last { Self { stable_since: now } } else { self }
    }

    /// Returns the time from which a delay that began at `at` counts. A time that is ahead of `now`
    /// by more than `tolerance` was written before the clock was set back: it counts from the
    /// detection of the jump, or from `now` while the jump is not detected.
    pub fn delay_start(self, at: Timestamp, now: Timestamp, tolerance: Span) -> Timestamp {
        if at <= now {
            at.max(self.stable_since.min(now))
        } else if at <= now.plus(tolerance) {
            at
        } else if self == Self::NO_JUMP {
            now
        } else {
            self.stable_since.min(now)
        }
    }
}
