//! Quotas: how many objects an owner may have, and how many changes it may make per minute.

use std::time::Duration;

use crate::{
    config::sections::Quotas,
    domain::{
        access::policy::TenantScope,
        common::{
            id::{OrganizationId, UserId},
            time::Span,
        },
    },
    service::common::budget::Budget,
};

/// A quota that the request would exceed, with its value. The text is shown to users of the pages,
/// so it says what they can do before it names the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExceededQuota {
    #[error(
        "the owner has {0} API keys, which is the maximum: revoke keys that are not needed, or ask an operator to raise \
         limits.keys_per_owner"
    )]
    KeysPerOwner(u32),
    #[error(
        "there are {0} API keys within the organization, which is the maximum: revoke keys that are not needed, or ask an operator to raise \
         limits.keys_per_organization"
    )]
    KeysPerOrganization(u32),
    #[error(
        "the user has {0} service clients, which is the maximum: delete one that is not needed, or ask an operator to raise \
         service_clients.max_per_user"
    )]
    ServiceClientsPerUser(u32),
}

/// Who has made too many changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeQuota {
    Owner,
    Organization,
}

impl ChangeQuota {
    const fn subject(self) -> &'static str {
        match self {
            Self::Owner => "you",
            Self::Organization => "the organization",
        }
    }

    const fn setting(self) -> &'static str {
        match self {
            Self::Owner => "limits.changes_per_owner",
            Self::Organization => "limits.changes_per_organization",
        }
    }
}

/// The caller may not make a change now. `retry_after` is the time until the next one is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many changes: {} may make {maximum} per minute ({}); try again in {} s",
    quota.subject(),
    quota.setting(),
    retry_after.as_secs_rounded_up()
)]
pub struct TooManyChanges {
    pub quota: ChangeQuota,
    pub maximum: u32,
    pub retry_after: Span,
}

/// The changes that tenants have made on this replica. Replicas do not share them, and a restart
/// resets them.
#[derive(Debug)]
pub struct ChangeRates {
    owners: ChangeRate,
    organizations: ChangeRate,
}

impl ChangeRates {
    pub fn new(quotas: &Quotas) -> Self {
        Self {
            owners: ChangeRate::new(ChangeQuota::Owner, quotas.changes_per_owner),
            organizations: ChangeRate::new(ChangeQuota::Organization, quotas.changes_per_organization),
        }
    }

    /// Counts a change of a caller in this scope. Callers of the whole deployment are not counted:
    /// the back end of a product mirrors any number of users.
    pub(crate) fn admit(&self, scope: &TenantScope) -> Result<(), TooManyChanges> {
        let TenantScope::Tenant { organization, user } = scope else { return Ok(()) };
        let organization = organization.as_ref().map(OrganizationId::as_str);
        self.owners.admit([organization, user.as_ref().map(UserId::as_str)])?;
        match organization {
            Some(_) => self.organizations.admit([organization, None]),
            None => Ok(()),
        }
    }
}

/// The changes of all owners, or of all organizations.
#[derive(Debug)]
struct ChangeRate {
    quota: ChangeQuota,
    maximum: u32,
    /// `None` if there is no limit.
    budget: Option<Budget>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl ChangeRate {
    fn new(quota: ChangeQuota, maximum: u32) -> Self {
        let budget = (maximum > 0).then(|| Budget::new(maximum, MINUTE / maximum));
        Self { quota, maximum, budget }
    }

    fn admit(&self, ids: [Option<&str>; 2]) -> Result<(), TooManyChanges> {
        let spent = self.budget.as_ref().map_or(Ok(()), |budget| budget.spend(&ids));
        spent.map_err(|retry_after| TooManyChanges { quota: self.quota, maximum: self.maximum, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(changes_per_owner: u32, changes_per_organization: u32) -> ChangeRates {
        ChangeRates::new(&Quotas {
            keys_per_owner: 0,
            keys_per_organization: 0,
            sessions_per_user: 0,
            changes_per_owner,
            changes_per_organization,
        })
    }

    fn tenant(organization: Option<&str>, user: Option<&str>) -> TenantScope {
        TenantScope::Tenant {
            organization: organization.map(|id| id.parse().unwrap()),
            user: user.map(|id| id.parse().unwrap()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn owner_is_refused_until_its_budget_refills() {
        let rates = rates(3, 0);
        let alice = tenant(Some("acme"), Some("alice"));
        for _ in 0..3 {
            assert_eq!(rates.admit(&alice), Ok(()));
        }
        // A refused change is not counted.
        for _ in 0..2 {
            let refused = rates.admit(&alice).unwrap_err();
            assert_eq!((refused.quota, refused.retry_after), (ChangeQuota::Owner, Span::from_secs(20)));
        }
        for other in [
            tenant(Some("acme"), Some("bob")),
            tenant(None, Some("alice")),
            tenant(Some("alice"), None),
            tenant(Some("umbrella"), Some("alice")),
        ] {
            assert_eq!(rates.admit(&other), Ok(()), "{other:?} has a budget of its own");
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(rates.admit(&alice), Ok(()));
        assert!(rates.admit(&alice).is_err(), "one unit is restored");
    }

    #[tokio::test(start_paused = true)]
    async fn organization_is_limited_together_with_its_members() {
        let rates = rates(0, 2);
        assert_eq!(rates.admit(&tenant(Some("acme"), Some("alice"))), Ok(()));
        assert_eq!(rates.admit(&tenant(Some("acme"), None)), Ok(()));
        let refused = rates.admit(&tenant(Some("acme"), Some("bob"))).unwrap_err();
        assert_eq!((refused.quota, refused.retry_after), (ChangeQuota::Organization, Span::from_secs(30)));
        for other in [tenant(Some("umbrella"), Some("bob")), tenant(None, Some("bob")), TenantScope::Account] {
            for _ in 0..2 {
                assert_eq!(rates.admit(&other), Ok(()));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_the_whole_deployment_are_not_limited() {
        let rates = rates(1, 1);
        for _ in 0..100 {
            assert_eq!(rates.admit(&TenantScope::Account), Ok(()));
        }
    }

    #[test]
    fn message_names_the_limit_and_the_time() {
        let refused = TooManyChanges { quota: ChangeQuota::Owner, maximum: 600, retry_after: Span::from_millis(100) };
        let text = "too many changes: you may make 600 per minute (limits.changes_per_owner); try again in 1 s";
        assert_eq!(refused.to_string(), text);
    }
}
