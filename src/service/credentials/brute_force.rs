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
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use tokio::sync::Semaphore;

use crate::{
    config::live::LiveSettings,
    domain::common::{derived_id::CredentialId, time::Span},
    service::common::budget::{Budget, BudgetRate},
};

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
    live: LiveSettings,
    sources: Budget,
    credentials: Budget,
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
    pub fn new(live: LiveSettings) -> Self {
        Self {
            live,
            sources: Budget::default(),
            credentials: Budget::default(),
            failing_sources: Semaphore::new(MAX_FAILING_VERIFICATIONS),
        }
    }

    /// Returns whether the budget of the source is spent.
    pub fn is_spent(&self, source: Source) -> bool {
        source != Source::UNKNOWN && self.sources.is_spent(self.rates().0, &source)
    }

    /// Counts a failed attempt. Returns an error if the budget of its source or of its credential
    /// is spent.
    pub fn record_failure(&self, source: Source, credential: Option<&CredentialId>) -> Result<(), Throttled> {
        if source == Source::UNKNOWN {
            return Ok(());
        }
        let (per_source, per_credential) = self.rates();
        let of_source = self.sources.spend(per_source, &source);
        let of_credential = credential.map_or(Ok(()), |credential| self.credentials.spend(per_credential, credential));
        of_source.and(of_credential).map_err(|retry_after| Throttled { retry_after })
    }

    /// The rates of a source and of a credential.
    fn rates(&self) -> (BudgetRate, BudgetRate) {
        let live = self.live.load();
        let settings = &live.brute_force;
        let rate = |burst| BudgetRate::new(burst, settings.refill.duration());
        (rate(settings.per_source), rate(settings.per_credential))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([192, 0, 2, last]))
    }

    fn limiter(per_source: u32, per_credential: u32) -> BruteForceLimiter {
        BruteForceLimiter::new(LiveSettings::with(&[
            &format!("brute_force.per_source={per_source}"),
            &format!("brute_force.per_credential={per_credential}"),
            "brute_force.refill=2s",
        ]))
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
