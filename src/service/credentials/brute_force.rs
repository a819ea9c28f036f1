//! Brute-force limiter (invariant 10): failures are limited per source and per credential, in
//! constant memory.
//!
//! A source whose budget is spent is answered 429 before any lookup. A credential whose budget is
//! spent is answered 429 only to sources that have failed recently: the correct key still works
//! from elsewhere while its id is under attack. Every fault of a key counts the same. Otherwise the
//! budget would distinguish a revoked key from an unknown one.
//!
//! A back end validates the keys of all of its users, and their sources are unknown here. In this
//! case no source is limited, a correct key is always accepted, and only failures with a credential
//! whose budget is spent are answered 429.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::sections::BruteForce,
    domain::common::{derived_id::CredentialId, time::Span},
};

/// Number of cells of a budget. Two keys that hash to the same cell share its budget. The hash is
/// seeded, so an attacker cannot choose the collision.
const BUDGET_CELLS: usize = 1 << 16;

/// The source of a request for the brute-force limiter: an IPv4 address, or an IPv6 /64, which one
/// customer commonly holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(Option<IpAddr>);

impl Source {
    /// An unknown source behind a back end that validates the keys of its users.
    pub const UNKNOWN: Self = Self(None);
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(Some(IpAddr::V4(v4))),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))))
            }
        }
    }
}

/// The budgets of one replica. Replicas do not share them, and a restart resets them.
pub struct BruteForceLimiter {
    sources: FailureBudget,
    credentials: FailureBudget,
}

impl fmt::Debug for BruteForceLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BruteForceLimiter")
    }
}

/// The budget is spent. `retry_after` is the time until the next attempt is admitted.
#[derive(Debug, thiserror::Error)]
#[error("too many failures")]
pub struct Throttled {
    pub retry_after: Span,
}

impl BruteForceLimiter {
    pub fn new(settings: &BruteForce) -> Self {
        Self {
            sources: FailureBudget::new(settings.per_source, settings.refill),
            credentials: FailureBudget::new(settings.per_credential, settings.refill),
        }
    }

    /// Returns an error if the budget of the source is spent.
    pub fn admit_source(&self, source: Source) -> Result<(), Throttled> {
        if source == Source::UNKNOWN { Ok(()) } else { self.sources.check_budget(&source) }
    }

    /// Returns an error if the budget of the credential is spent and the source has failed
    /// recently.
    pub fn admit_credential(&self, source: Source, credential: Option<&CredentialId>) -> Result<(), Throttled> {
        match credential {
            Some(credential) if source != Source::UNKNOWN && !self.sources.is_full(&source) => {
                self.credentials.check_budget(credential)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns an error if a failure with this credential must be answered as throttled: the source
    /// is unknown and the budget of the credential is spent. Must be called before
    /// `record_failure`.
    pub fn admit_failure(&self, source: Source, credential: Option<&CredentialId>) -> Result<(), Throttled> {
        match credential {
            Some(credential) if source == Source::UNKNOWN => self.credentials.check_budget(credential),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a failed attempt.
    pub fn record_failure(&self, source: Source, credential: Option<&CredentialId>) {
        if source != Source::UNKNOWN {
            self.sources.spend_failure(&source);
        }
        if let Some(credential) = credential {
            self.credentials.spend_failure(credential);
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The generic cell rate algorithm. Each cell holds one number: the time at which its budget is
/// full again, in milliseconds since the start. `governor` cannot check a budget without spending
/// from it, and its keyed limiter grows with the number of keys.
struct FailureBudget {
    full_at_millis: Box<[AtomicU64]>,
    started: Instant,
    hasher: RandomState,
    /// Cost of one failure in milliseconds.
    failure_cost_millis: u64,
    /// Maximum distance of `full_at_millis` from the current time in milliseconds.
    capacity_millis: u64,
}

impl FailureBudget {
    fn new(burst: u32, refill: Span) -> Self {
        let failure_cost_millis = millis(refill.duration()).max(1);
        Self {
            full_at_millis: (0..BUDGET_CELLS).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
            hasher: RandomState::new(),
            failure_cost_millis,
            capacity_millis: failure_cost_millis.saturating_mul(u64::from(burst)),
        }
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    fn cell_of(&self, key: &impl Hash) -> &AtomicU64 {
        let position = usize::try_from(self.hasher.hash_one(key) % BUDGET_CELLS as u64).unwrap_or(0);
        &self.full_at_millis[position]
    }

    fn check_budget(&self, key: &impl Hash) -> Result<(), Throttled> {
        let spent = self.cell_of(key).load(Ordering::Relaxed).saturating_sub(self.now());
        // The budget must have room for a whole failure. A fraction of one is restored after a
        // millisecond, which would be the only wait for an attacker.
        let excess = spent.saturating_add(self.failure_cost_millis).saturating_sub(self.capacity_millis);
        if excess == 0 { Ok(()) } else { Err(Throttled { retry_after: Span::from_millis(excess) }) }
    }

    fn is_full(&self, key: &impl Hash) -> bool {
        self.cell_of(key).load(Ordering::Relaxed) <= self.now()
    }

    fn spend_failure(&self, key: &impl Hash) {
        let now = self.now();
        let latest = now.saturating_add(self.capacity_millis);
        let after =
            |full_at_millis: u64| Some(full_at_millis.max(now).saturating_add(self.failure_cost_millis).min(latest));
        let _ = self.cell_of(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_throttled_until_its_budget_refills() {
        let brute_force =
            BruteForceLimiter::new(&BruteForce { per_source: 3, per_credential: 100, refill: Span::from_secs(2) });
        for _ in 0..3 {
            assert!(brute_force.admit_source(source(1)).is_ok());
            brute_force.record_failure(source(1), None);
        }
        let throttled = brute_force.admit_source(source(1)).unwrap_err();
        assert_eq!(throttled.retry_after, Span::from_secs(2));
        tokio::time::advance(Duration::from_millis(1999)).await;
        let throttled = brute_force.admit_source(source(1)).unwrap_err();
        assert_eq!(throttled.retry_after, Span::from_millis(1), "not before retry_after");
        assert!(brute_force.admit_source(source(2)).is_ok(), "another source is admitted");
        tokio::time::advance(throttled.retry_after.duration()).await;
        assert!(brute_force.admit_source(source(1)).is_ok(), "after retry_after");
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_under_attack_works_from_other_sources() {
        let brute_force =
            BruteForceLimiter::new(&BruteForce { per_source: 100, per_credential: 2, refill: Span::from_secs(2) });
        let id: CredentialId = "0123456789abcdef".parse().unwrap();
        for last in 0..5 {
            brute_force.record_failure(source(last), Some(&id));
        }
        assert!(brute_force.admit_credential(source(0), Some(&id)).is_err(), "a source that failed is throttled");
        assert!(brute_force.admit_credential(source(9), Some(&id)).is_ok(), "another source is admitted");
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_source_is_limited_by_credential_only() {
        let brute_force =
            BruteForceLimiter::new(&BruteForce { per_source: 2, per_credential: 2, refill: Span::from_secs(2) });
        let (under_attack, other) = ("0123456789abcdef".parse().unwrap(), "0123456789abcdeg".parse().unwrap());
        for _ in 0..2 {
            assert!(brute_force.admit_failure(Source::UNKNOWN, Some(&under_attack)).is_ok());
            brute_force.record_failure(Source::UNKNOWN, Some(&under_attack));
        }
        assert!(brute_force.admit_failure(Source::UNKNOWN, Some(&under_attack)).is_err(), "failures are throttled");
        assert!(brute_force.admit_failure(Source::UNKNOWN, Some(&other)).is_ok(), "for this credential only");
        assert!(brute_force.admit_source(Source::UNKNOWN).is_ok());
        assert!(
            brute_force.admit_credential(Source::UNKNOWN, Some(&under_attack)).is_ok(),
            "the secret is verified first"
        );
    }

    #[test]
    fn an_ipv6_64_is_one_source() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), source(1));
    }
}
