//! Quotas of changes: how many an owner and an organization may make per minute.

use std::{sync::OnceLock, time::Duration};

use crate::{
    config::{live::LiveSettings, sections::Quotas},
    domain::{
        access::policy::TenantScope,
        common::{
            id::{OrganizationId, UserId},
            time::Span,
        },
    },
    service::common::budget::{Budget, BudgetRate},
};

/// A quota of changes per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeQuota {
    Owner,
    Organization,
}

impl ChangeQuota {
    const fn subject(self) -> &'static str {
        match self {
            Self::Owner => "an owner",
            Self::Organization => "an organization",
        }
    }

    const fn maximum(self, quotas: &Quotas) -> u32 {
        match self {
            Self::Owner => quotas.changes_per_owner,
            Self::Organization => quotas.changes_per_organization,
        }
    }

    const fn setting(self) -> &'static str {
        match self {
            Self::Owner => "limits.changes_per_owner",
            Self::Organization => "limits.changes_per_organization",
        }
    }
}

/// How a call is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Change,
    /// A change that only ends access, as `Services::end_access` runs it.
    End,
}

impl ChangeKind {
    /// How many calls of this kind are permitted for each permitted change.
    const fn factor(self) -> u32 {
        match self {
            Self::Change => 1,
            Self::End => 10,
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Change => "changes",
            Self::End => "calls that end keys or other access",
        }
    }

    const fn multiple_of(self) -> &'static str {
        match self {
            Self::Change => "",
            Self::End => "10 times ",
        }
    }
}

/// The caller may not make a change now. `retry_after` is the time until the next one is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many {}: {} may make {maximum} per minute ({}{}); try again in {} s",
    kind.plural(),
    quota.subject(),
    kind.multiple_of(),
    quota.setting(),
    retry_after.as_secs_rounded_up()
)]
pub struct TooManyChanges {
    pub quota: ChangeQuota,
    pub kind: ChangeKind,
    pub maximum: u32,
    pub retry_after: Span,
}

/// Counts the changes of tenants on this replica. Replicas do not share the counts, and a restart
/// resets them. Callers of the whole deployment are not counted: the back end of a product mirrors
/// any number of users, and an operator must be able to end everything.
#[derive(Debug)]
pub struct ChangeRateLimiter {
    live: LiveSettings,
    changes: ChangeRates,
    ends: ChangeRates,
}

impl ChangeRateLimiter {
    pub fn new(live: LiveSettings) -> Self {
        Self { live, changes: ChangeRates::new(ChangeKind::Change), ends: ChangeRates::new(ChangeKind::End) }
    }

    /// Counts a change of a caller in this scope.
    pub(crate) fn count_change(&self, scope: &TenantScope) -> Result<(), TooManyChanges> {
        self.changes.count(&self.live.load().quotas, scope)
    }

    /// Like `count_change`, for a change that only ends access.
    pub(crate) fn count_end(&self, scope: &TenantScope) -> Result<(), TooManyChanges> {
        self.ends.count(&self.live.load().quotas, scope)
    }
}

/// The changes of one kind.
#[derive(Debug)]
struct ChangeRates {
    owners: ChangeRate,
    organizations: ChangeRate,
}

impl ChangeRates {
    const fn new(kind: ChangeKind) -> Self {
        Self {
            owners: ChangeRate::new(ChangeQuota::Owner, kind),
            organizations: ChangeRate::new(ChangeQuota::Organization, kind),
        }
    }

    fn count(&self, quotas: &Quotas, scope: &TenantScope) -> Result<(), TooManyChanges> {
        let TenantScope::Tenant { organization, user } = scope else { return Ok(()) };
        let organization = organization.as_ref().map(OrganizationId::as_str);
        let owner = [organization, user.as_ref().map(UserId::as_str)];
        let Some(organization) = organization else { return self.owners.spend(quotas, owner) };
        // A change that is refused because of the organization spends nothing of its owner.
        self.organizations.require_unspent(quotas, [Some(organization), None])?;
        self.owners.spend(quotas, owner)?;
        self.organizations.spend(quotas, [Some(organization), None])
    }
}

/// The changes of one kind of all owners, or of all organizations.
#[derive(Debug)]
struct ChangeRate {
    quota: ChangeQuota,
    kind: ChangeKind,
    /// Created by the first change that has a limit.
    budget: OnceLock<Budget>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl ChangeRate {
    const fn new(quota: ChangeQuota, kind: ChangeKind) -> Self {
        Self { quota, kind, budget: OnceLock::new() }
    }

    fn require_unspent(&self, quotas: &Quotas, ids: [Option<&str>; 2]) -> Result<(), TooManyChanges> {
        self.check(quotas, |budget, rate| budget.require_unspent(rate, &ids))
    }

    fn spend(&self, quotas: &Quotas, ids: [Option<&str>; 2]) -> Result<(), TooManyChanges> {
        self.check(quotas, |budget, rate| budget.spend(rate, &ids))
    }

    fn check(
        &self,
        quotas: &Quotas,
        check: impl FnOnce(&Budget, BudgetRate) -> Result<(), Span>,
    ) -> Result<(), TooManyChanges> {
        let maximum = self.quota.maximum(quotas).saturating_mul(self.kind.factor());
        if maximum == 0 {
            return Ok(());
        }
        let budget = self.budget.get_or_init(Budget::default);
        check(budget, BudgetRate::new(maximum, MINUTE / maximum)).map_err(|retry_after| TooManyChanges {
            quota: self.quota,
            kind: self.kind,
            maximum,
            retry_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::live::ReloadableSettings;

    use super::*;

    fn settings(changes_per_owner: u32, changes_per_organization: u32) -> LiveSettings {
        LiveSettings::with(&[
            &format!("limits.changes_per_owner={changes_per_owner}"),
            &format!("limits.changes_per_organization={changes_per_organization}"),
        ])
    }

    fn limiter(changes_per_owner: u32, changes_per_organization: u32) -> ChangeRateLimiter {
        ChangeRateLimiter::new(settings(changes_per_owner, changes_per_organization))
    }

    fn tenant(organization: Option<&str>, user: Option<&str>) -> TenantScope {
        TenantScope::Tenant {
            organization: organization.map(|id| id.parse().unwrap()),
            user: user.map(|id| id.parse().unwrap()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn owner_is_refused_until_its_budget_refills() {
        let limiter = limiter(3, 0);
        let alice = tenant(Some("acme"), Some("alice"));
        for _ in 0..3 {
            assert_eq!(limiter.count_change(&alice), Ok(()));
        }
        // A refused change is not counted.
        for _ in 0..2 {
            let refused = limiter.count_change(&alice).unwrap_err();
            assert_eq!((refused.quota, refused.retry_after), (ChangeQuota::Owner, Span::from_secs(20)));
        }
        for other in [
            tenant(Some("acme"), Some("bob")),
            tenant(None, Some("alice")),
            tenant(Some("alice"), None),
            tenant(Some("umbrella"), Some("alice")),
        ] {
            assert_eq!(limiter.count_change(&other), Ok(()), "{other:?} has a budget of its own");
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(limiter.count_change(&alice), Ok(()));
        assert!(limiter.count_change(&alice).is_err(), "one unit is restored");
    }

    #[tokio::test(start_paused = true)]
    async fn organization_is_limited_together_with_its_members() {
        let limiter = limiter(0, 2);
        assert_eq!(limiter.count_change(&tenant(Some("acme"), Some("alice"))), Ok(()));
        assert_eq!(limiter.count_change(&tenant(Some("acme"), None)), Ok(()));
        let refused = limiter.count_change(&tenant(Some("acme"), Some("bob"))).unwrap_err();
        assert_eq!((refused.quota, refused.retry_after), (ChangeQuota::Organization, Span::from_secs(30)));
        for other in [tenant(Some("umbrella"), Some("bob")), tenant(None, Some("bob")), TenantScope::Account] {
            for _ in 0..2 {
                assert_eq!(limiter.count_change(&other), Ok(()));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_because_of_the_organization_spends_nothing_of_the_owner() {
        let limiter = limiter(1, 2);
        let member = |user| tenant(Some("acme"), Some(user));
        assert_eq!([limiter.count_change(&member("alice")), limiter.count_change(&member("carol"))], [Ok(()), Ok(())]);
        for _ in 0..3 {
            assert_eq!(limiter.count_change(&member("bob")).unwrap_err().quota, ChangeQuota::Organization);
        }
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(limiter.count_change(&member("bob")), Ok(()), "only the organization had to wait");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_have_a_larger_budget_of_their_own() {
        let limiter = limiter(1, 0);
        let alice = tenant(Some("acme"), Some("alice"));
        assert_eq!(limiter.count_change(&alice), Ok(()));
        assert!(limiter.count_change(&alice).is_err());
        for _ in 0..10 {
            assert_eq!(limiter.count_end(&alice), Ok(()));
        }
        let refused = limiter.count_end(&alice).unwrap_err();
        assert_eq!((refused.kind, refused.maximum, refused.retry_after), (ChangeKind::End, 10, Span::from_secs(6)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.count_change(&alice), Ok(()), "ends do not count as changes");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_the_whole_deployment_are_not_limited() {
        let limiter = limiter(1, 1);
        for _ in 0..100 {
            assert_eq!(limiter.count_change(&TenantScope::Account), Ok(()));
            assert_eq!(limiter.count_end(&TenantScope::Account), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limits_can_change() {
        let live = settings(2, 0);
        let limiter = ChangeRateLimiter::new(live.clone());
        let alice = tenant(Some("acme"), Some("alice"));
        assert_eq!([limiter.count_change(&alice), limiter.count_change(&alice)], [Ok(()), Ok(())]);
        assert_eq!(limiter.count_change(&alice).unwrap_err().maximum, 2);
        live.replace(ReloadableSettings::clone(&settings(0, 0).load()));
        assert_eq!(limiter.count_change(&alice), Ok(()), "no limit");
        live.replace(ReloadableSettings::clone(&settings(2, 0).load()));
        assert!(limiter.count_change(&alice).is_err(), "what was spent is not forgotten");
    }

    #[test]
    fn message_names_the_limit_and_the_time() {
        let refused = |quota, kind| {
            let retry_after = Span::from_millis(100);
            TooManyChanges { quota, kind, maximum: 600, retry_after }.to_string()
        };
        assert_eq!(
            refused(ChangeQuota::Owner, ChangeKind::Change),
            "too many changes: an owner may make 600 per minute (limits.changes_per_owner); try again in 1 s"
        );
        assert_eq!(
            refused(ChangeQuota::Organization, ChangeKind::End),
            "too many calls that end keys or other access: an organization may make 600 per minute (10 times \
             limits.changes_per_organization); try again in 1 s"
        );
    }
}
