//! Brute-force limiter (invariants 10 and 15): failures are limited per source and per credential,
//! in constant memory.
//!
//! A credential is always verified first. Only if it is refused, the budgets decide between 401 and
//! 429: a correct credential is accepted whatever its source or others have sent. Every fault of a
//! credential counts the same. Otherwise the budget would distinguish a revoked key from an unknown
//! one.
//!
//! A back end validates the keys of all of its users, and their sources are unknown here. Nothing
//! is limited in this case.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hash},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

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
    /// Limits the concurrent verifications for sources whose budget is spent, so that they cannot
    /// take the capacity of all others.
    pub failing_sources: Semaphore,
}

/// Maximum number of concurrent verifications for sources whose budget is spent.
const MAX_FAILING_VERIFICATIONS: usize = 16;

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
            failing_sources: Semaphore::new(MAX_FAILING_VERIFICATIONS),
        }
    }

    /// Returns whether the budget of the source is spent.
    pub fn is_spent(&self, source: Source) -> bool {
        source != Source::UNKNOWN && self.sources.is_spent(&source)
    }

    /// Counts a failed attempt. Returns an error if the budget of its source or of its credential
    /// is spent.
    pub fn record_failure(&self, source: Source, credential: Option<&CredentialId>) -> Result<(), Throttled> {
        if source == Source::UNKNOWN {
            return Ok(());
        }
        let of_source = self.sources.spend_failure(&source);
        let of_credential = credential.map_or(Ok(()), |credential| self.credentials.spend_failure(credential));
        of_source.and(of_credential)
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

    fn is_spent(&self, key: &impl Hash) -> bool {
        let after = self.cell_of(key).load(Ordering::Relaxed).saturating_add(self.failure_cost_millis);
        after > self.now().saturating_add(self.capacity_millis)
    }

    /// Counts a failure. Returns an error and counts nothing if the budget has no room for it.
    fn spend_failure(&self, key: &impl Hash) -> Result<(), Throttled> {
        let now = self.now();
        let latest = now.saturating_add(self.capacity_millis);
        let after = |full_at_millis: u64| full_at_millis.max(now).saturating_add(self.failure_cost_millis);
        self.cell_of(key)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cell| {
                Some(after(cell)).filter(|after| *after <= latest)
            })
            .map(|_| ())
            .map_err(|cell| Throttled { retry_after: Span::from_millis(after(cell).saturating_sub(latest)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([192, 0, 2, last]))
    }

    fn limiter(per_source: u32, per_credential: u32) -> BruteForceLimiter {
        BruteForceLimiter::new(&BruteForce { per_source, per_credential, refill: Span::from_secs(2) })
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_a_source_are_throttled_until_its_budget_refills() {
        let limiter = limiter(3, 100);
        let fail = |last| limiter.record_failure(source(last), None);
        for _ in 0..3 {
            assert!(fail(1).is_ok());
        }
        // A throttled failure is not counted.
        for _ in 0..2 {
            assert_eq!(fail(1).unwrap_err().retry_after, Span::from_secs(2));
        }
        assert!(fail(2).is_ok(), "another source has its own budget");
        assert!(limiter.is_spent(source(1)) && !limiter.is_spent(source(2)) && !limiter.is_spent(Source::UNKNOWN));
        tokio::time::advance(Duration::from_millis(1999)).await;
        assert_eq!(fail(1).unwrap_err().retry_after, Span::from_millis(1), "not before retry_after");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!limiter.is_spent(source(1)));
        assert!(fail(1).is_ok(), "after retry_after");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_with_a_credential_are_throttled_from_every_source() {
        let limiter = limiter(100, 2);
        let (attacked, other) = ("0123456789abcdef".parse().unwrap(), "0123456789abcdeg".parse().unwrap());
        for last in 0..2 {
            assert!(limiter.record_failure(source(last), Some(&attacked)).is_ok());
        }
        assert!(limiter.record_failure(source(9), Some(&attacked)).is_err());
        assert!(limiter.record_failure(source(9), Some(&other)).is_ok());
    }

    #[test]
    fn unknown_source_spends_no_budget() {
        let limiter = limiter(1, 1);
        let id = "0123456789abcdef".parse().unwrap();
        for _ in 0..3 {
            assert!(limiter.record_failure(Source::UNKNOWN, Some(&id)).is_ok());
        }
        assert!(limiter.record_failure(source(1), Some(&id)).is_ok());
    }

    #[test]
    fn an_ipv6_64_is_one_source() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), source(1));
    }
}
