//! Determines the owner of a new key or service client, from the request or from the caller's
//! tenant scope, and checks that the caller may create keys for it.

use crate::{
    domain::{
        access::{
            owner::{Home, Owner},
            owner_status::{ClientNow, Directory, Ownership},
            permission::{AssignableTo, MANAGE, PermissionSet},
            policy::Place,
        },
        common::id::{Incarnation, OrganizationId, ServiceClientId, UserId},
    },
    service::{Error, Fault, access::owners, caller::Caller},
    store::{self, Tx},
};

/// The owner that a request names. Omitted ids are taken from the caller's tenant scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerAsked {
    User { id: Option<UserId>, organization: Option<OrganizationId> },
    Organization { id: Option<OrganizationId> },
    ServiceClient(ServiceClientId),
    Nobody,
}

/// The resolved owner and the permissions that it can have.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub owner: Owner,
    pub home: Home,
    pub creator: Option<(UserId, Incarnation)>,
    /// The service client that owns the key, if any.
    pub client: Option<ClientNow>,
    /// Permissions of the user's roles; empty if there is no user behind the owner.
    pub roles: PermissionSet,
}

impl Holder {
    /// The holder of an existing key.
    pub(crate) fn of(ownership: &Ownership) -> Self {
        Self {
            owner: ownership.owner.clone(),
            home: ownership.home.clone(),
            creator: ownership.creator.clone(),
            client: ownership.client.clone(),
            roles: ownership.directory.permissions.clone(),
        }
    }

    pub(crate) fn ownership(&self) -> Ownership {
        Ownership {
            owner: self.owner.clone(),
            home: self.home.clone(),
            creator: self.creator.clone(),
            client: self.client.clone(),
            directory: Directory::default(),
        }
    }

    /// The value that `assignable_to` of a permission must contain for this owner; `None` for an
    /// unowned key.
    pub(crate) const fn assignable_to(&self) -> Option<AssignableTo> {
        match &self.owner {
            Owner::User(_) => Some(AssignableTo::User),
            Owner::Organization(_) => Some(AssignableTo::Organization),
            Owner::ServiceClient(_) => Some(AssignableTo::ServiceClient),
            Owner::Nobody => None,
        }
    }
}

/// Resolves the owner of a new key. An owner that does not exist and an owner for whom the caller
/// may not create keys yield the same error.
pub(crate) fn of_new_key(tx: &mut Tx<'_>, caller: &Caller, asked: Option<OwnerAsked>) -> Result<Holder, Error> {
    let holder = match asked.or_else(|| default_owner(caller)) {
        None => return Err(Error::invalid("owner", "is needed: a user, an organization, a service client or none")),
        Some(OwnerAsked::User { id, organization }) => user(tx, caller, id, organization)?,
        Some(OwnerAsked::Organization { id }) => organization(tx, caller, id)?,
        Some(OwnerAsked::ServiceClient(id)) => service_client(tx, &id)?,
        Some(OwnerAsked::Nobody) => Some(Holder {
            owner: Owner::Nobody,
            home: Home::Account,
            creator: None,
            client: None,
            roles: PermissionSet::default(),
        }),
    };
    let allowed = holder.filter(|holder| caller.authority.over(&holder.home).change);
    allowed.ok_or_else(|| Error::Invalid(vec![nobody_such()]))
}

/// The fault for an owner that does not exist, or for whom the caller may not create keys.
pub(crate) fn nobody_such() -> Fault {
    Fault::new("owner", "there is no such owner, or none that you may make keys for")
}

/// The organization, if no user is calling or the caller may manage its keys; otherwise the user. A
/// request from inside a tenant scope need not name its owner.
fn default_owner(caller: &Caller) -> Option<OwnerAsked> {
    let Place::Inside { organization, user } = &caller.authority.place else { return None };
    match (organization, user) {
        (Some(_), None) => Some(OwnerAsked::Organization { id: None }),
        (Some(_), Some(_)) if caller.authority.holds(MANAGE) => Some(OwnerAsked::Organization { id: None }),
        (_, Some(_)) => Some(OwnerAsked::User { id: None, organization: None }),
        (None, None) => None,
    }
}

fn here(caller: &Caller) -> (Option<&OrganizationId>, Option<&UserId>) {
    match &caller.authority.place {
        Place::Everywhere => (None, None),
        Place::Inside { organization, user } => (organization.as_ref(), user.as_ref()),
    }
}

/// Resolves a user and locks its rows. The user can be neither deleted nor blocked until the
/// transaction ends.
pub(crate) fn user(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: Option<UserId>,
    organization: Option<OrganizationId>,
) -> Result<Option<Holder>, Error> {
    let (here, own) = here(caller);
    let organization = organization.or_else(|| here.cloned());
    let Some(id) = id.or_else(|| own.cloned()) else {
        return Err(Error::invalid("owner", "needs the id of a user"));
    };
    if let Some(organization) = &organization {
        store::directory::organizations::find_for_change(tx, organization)?;
    }
    store::directory::users::find_for_change(tx, &id)?;
    let Some(place) = owners::of_user(tx, &id, organization.as_ref())? else { return Ok(None) };
    if place.blocked && caller.authority.over(&place.home).see {
        return Err(Error::invalid("owner", "the user is blocked: unblock them first"));
    }
    let owner = Owner::User(id);
    Ok(Some(Holder { owner, home: place.home, creator: None, client: None, roles: place.permissions }))
}

pub(crate) fn organization(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: Option<OrganizationId>,
) -> Result<Option<Holder>, Error> {
    let Some(id) = id.or_else(|| here(caller).0.cloned()) else {
        return Err(Error::invalid("owner", "needs the id of an organization"));
    };
    store::directory::organizations::find_for_change(tx, &id)?;
    let Some(place) = owners::of_organization(tx, &id)? else { return Ok(None) };
    let creator = match &caller.acts_as {
        Some(Home::User { id: user, organization: Some(of), incarnation }) if *of == id => {
            Some((user.clone(), incarnation.clone()))
        }
        Some(_) | None => None,
    };
    let owner = Owner::Organization(id);
    Ok(Some(Holder { owner, home: place.home, creator, client: None, roles: place.permissions }))
}

fn service_client(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<Option<Holder>, Error> {
    let Some(client) = store::api_keys::service_clients::find_for_change(tx, id)? else { return Ok(None) };
    let roles = match &client.home {
        Home::Account | Home::Organization { .. } => PermissionSet::default(),
        Home::User { id, organization, .. } => {
            owners::of_user(tx, id, organization.as_ref())?.map(|place| place.permissions).unwrap_or_default()
        }
    };
    Ok(Some(Holder {
        owner: Owner::ServiceClient(client.id),
        home: client.home,
        creator: None,
        client: Some(ClientNow { permissions: client.permissions, deleted: false }),
        roles,
    }))
}
