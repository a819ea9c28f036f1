//! Determines the owner of a new key or service client, from the request or from the caller's
//! tenant scope, and checks that the caller may create keys for it.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            owner::{Owner, OwnerScope},
            owner_status::{DirectorySnapshot, Ownership, ServiceClientSnapshot},
            permission::{AssignableOwnerType, MANAGE, PermissionSet},
            policy::TenantScope,
        },
        common::id::{GenerationId, OrganizationId, ServiceClientId, UserId},
        directory::service_client::ServiceClient,
    },
    service::{Error, InputFault, access::owners, caller::Caller},
    store::{self, Tx},
};

/// The owner of a new API key. Omitted ids default to those of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = NewApiKeyOwner)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestedOwner {
    User {
        id: Option<UserId>,
        organization_id: Option<OrganizationId>,
    },
    Organization {
        id: Option<OrganizationId>,
    },
    ServiceClient {
        id: ServiceClientId,
    },
    // With braces, because serde ignores unknown members of a unit variant.
    #[serde(rename = "none")]
    Unowned {},
}

/// The resolved owner and the permissions that it can have.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedOwner {
    pub owner: Owner,
    pub owner_scope: OwnerScope,
    /// Whether the user or organization of `owner_scope` still exists.
    pub exists: bool,
    pub creator: Option<(UserId, GenerationId)>,
    /// The service client that owns the key, if any.
    pub client: Option<ServiceClientSnapshot>,
    /// Permissions of the user's roles; empty if there is no user behind the owner.
    pub roles: PermissionSet,
}

impl ResolvedOwner {
    const fn existing(owner: Owner, owner_scope: OwnerScope, roles: PermissionSet) -> Self {
        Self { owner, owner_scope, exists: true, creator: None, client: None, roles }
    }

    /// A service client as the owner of a key. `roles` are the permissions of the user behind it.
    pub(crate) fn of_client(client: ServiceClient, roles: PermissionSet) -> Self {
        let snapshot = ServiceClientSnapshot { permissions: client.permissions, deleted: false };
        let owner = Self::existing(Owner::ServiceClient(client.id), client.owner_scope, roles);
        Self { client: Some(snapshot), ..owner }
    }

    /// The owner of an existing key.
    pub(crate) fn of(ownership: &Ownership) -> Self {
        Self {
            owner: ownership.owner.clone(),
            owner_scope: ownership.owner_scope.clone(),
            exists: ownership.owner_exists(),
            creator: ownership.creator_membership.clone(),
            client: ownership.client.clone(),
            roles: ownership.directory.permissions.clone(),
        }
    }

    pub(crate) fn ownership(&self) -> Ownership {
        Ownership {
            owner: self.owner.clone(),
            owner_scope: self.owner_scope.clone(),
            creator_membership: self.creator.clone(),
            client: self.client.clone(),
            directory: DirectorySnapshot::default(),
        }
    }

    /// The value that `assignable_to` of a permission must contain for this owner; `None` for an
    /// unowned key.
    pub(crate) const fn assignable_to(&self) -> Option<AssignableOwnerType> {
        match &self.owner {
            Owner::User(_) => Some(AssignableOwnerType::User),
            Owner::Organization(_) => Some(AssignableOwnerType::Organization),
            Owner::ServiceClient(_) => Some(AssignableOwnerType::ServiceClient),
            Owner::Unowned => None,
        }
    }
}

/// Resolves the owner of a new key.
pub(crate) fn resolve_owner(
    tx: &mut Tx<'_>,
    caller: &Caller,
    requested: Option<RequestedOwner>,
) -> Result<ResolvedOwner, Error> {
    let requested = requested
        .or_else(|| default_owner(caller))
        .ok_or_else(|| Error::invalid("owner", "is required: a user, an organization, a service client or none"))?;
    resolve_requested_owner(tx, caller, requested)
}

/// Resolves an owner. An owner that does not exist and an owner for whom the caller may not create
/// keys yield the same error.
pub(crate) fn resolve_requested_owner(
    tx: &mut Tx<'_>,
    caller: &Caller,
    requested: RequestedOwner,
) -> Result<ResolvedOwner, Error> {
    let owner = match requested {
        RequestedOwner::User { id, organization_id } => lock_user(tx, caller, id, organization_id)?,
        RequestedOwner::Organization { id } => lock_organization(tx, caller, id)?,
        RequestedOwner::ServiceClient { id } => lock_service_client(tx, &id)?,
        RequestedOwner::Unowned {} => {
            Some(ResolvedOwner::existing(Owner::Unowned, OwnerScope::Account, PermissionSet::default()))
        }
    };
    let allowed = owner.filter(|owner| caller.authority.rights_on(&owner.owner_scope, owner.exists).change);
    allowed.ok_or_else(|| Error::Invalid(vec![unknown_owner_fault()]))
}

/// The fault for an owner that does not exist, or for whom the caller may not create keys.
pub(crate) fn unknown_owner_fault() -> InputFault {
    InputFault::new("owner", "there is no such owner, or you may not create keys for it")
}

/// The organization, if no user is calling or the caller may manage its keys; otherwise the user. A
/// request from inside a tenant scope need not name its owner.
fn default_owner(caller: &Caller) -> Option<RequestedOwner> {
    let TenantScope::Tenant { organization, user } = &caller.authority.tenant_scope else { return None };
    match (organization, user) {
        (Some(_), None) => Some(RequestedOwner::Organization { id: None }),
        (Some(_), Some(_)) if caller.authority.has_permission(MANAGE) => {
            Some(RequestedOwner::Organization { id: None })
        }
        (_, Some(_)) => Some(RequestedOwner::User { id: None, organization_id: None }),
        (None, None) => None,
    }
}

fn caller_scope_ids(caller: &Caller) -> (Option<&OrganizationId>, Option<&UserId>) {
    match &caller.authority.tenant_scope {
        TenantScope::Account => (None, None),
        TenantScope::Tenant { organization, user } => (organization.as_ref(), user.as_ref()),
    }
}

/// Resolves a user and locks its rows. The user can be neither deleted nor blocked until the
/// transaction ends.
fn lock_user(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: Option<UserId>,
    organization: Option<OrganizationId>,
) -> Result<Option<ResolvedOwner>, Error> {
    let (caller_organization, caller_user) = caller_scope_ids(caller);
    let organization = organization.or_else(|| caller_organization.cloned());
    let id = id.or_else(|| caller_user.cloned()).ok_or_else(|| Error::invalid("owner", "needs the id of a user"))?;
    if let Some(organization) = &organization {
        store::directory::organizations::find_for_change(tx, organization)?;
    }
    store::directory::users::find_for_change(tx, &id)?;
    let Some(entry) = owners::find_user(tx, &id, organization.as_ref())? else { return Ok(None) };
    if entry.blocked && caller.authority.rights_on(&entry.owner_scope, true).read {
        return Err(Error::invalid("owner", "the user is blocked or locked: unblock or unlock them first"));
    }
    Ok(Some(ResolvedOwner::existing(Owner::User(id), entry.owner_scope, entry.permissions)))
}

fn lock_organization(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: Option<OrganizationId>,
) -> Result<Option<ResolvedOwner>, Error> {
    let id = id.or_else(|| caller_scope_ids(caller).0.cloned());
    let id = id.ok_or_else(|| Error::invalid("owner", "needs the id of an organization"))?;
    store::directory::organizations::find_for_change(tx, &id)?;
    let Some(entry) = owners::find_organization(tx, &id)? else { return Ok(None) };
    let creator = match &caller.user_scope {
        Some(OwnerScope::User { id: user, organization: Some(of), generation_id }) if *of == id => {
            Some((user.clone(), generation_id.clone()))
        }
        Some(_) | None => None,
    };
    let owner = ResolvedOwner::existing(Owner::Organization(id), entry.owner_scope, entry.permissions);
    Ok(Some(ResolvedOwner { creator, ..owner }))
}

/// Resolves a service client and locks it, after its organization or user, whose keys are counted
/// together with those of the service client. The owner of a service client never changes, so it is
/// read before.
fn lock_service_client(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<Option<ResolvedOwner>, Error> {
    let Some(found) = store::api_keys::service_clients::find(tx, id)? else { return Ok(None) };
    if let Some(organization) = found.owner_scope.organization() {
        store::directory::organizations::find_for_change(tx, organization)?;
    } else if let Some(user) = found.owner_scope.user() {
        store::directory::users::find_for_change(tx, user)?;
    }
    let Some(client) = store::api_keys::service_clients::find_for_change(tx, id)? else { return Ok(None) };
    let (exists, roles) =
        (owners::owner_exists(tx, &client.owner_scope)?, owners::find_user_permissions(tx, &client.owner_scope)?);
    Ok(Some(ResolvedOwner { exists, ..ResolvedOwner::of_client(client, roles) }))
}
