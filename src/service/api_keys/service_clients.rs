//! Service clients: identities of programs, each with its own permissions and any number of keys.

use crate::{
    config::Settings,
    domain::{
        access::{
            owner::OwnerScope,
            owner_status::Deleted,
            permission::{AssignableOwnerType, PermissionName, PermissionSet},
            policy::{ADMIN, Right, TenantScope},
        },
        common::{
            id::ServiceClientId,
            json::Metadata,
            name::DisplayName,
            page::{Page, PageRequest},
        },
        directory::service_client::ServiceClient,
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::{
            last_administrator, owners,
            permissions::find_grant_faults,
            visibility::{authorize, retain_visible},
        },
        api_keys::{RequestedOwner, organization_holder, unknown_owner_fault, user_holder, validate_user_permissions},
        caller::Caller,
    },
    store::{self, NoEvent, Outcome, Tx, directory::owner_deletions::DeletedOwner},
};

/// Input of `POST /v1/service-clients`.
#[derive(Debug, Clone)]
pub struct NewServiceClient {
    /// `None` derives the name from the user that the service client is created for.
    pub name: Option<DisplayName>,
    /// `None` means the user or organization of the caller, or else the account.
    pub owner: Option<RequestedOwner>,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
}

/// Input of `PATCH /v1/service-clients/{id}`. Absent members remain unchanged.
#[derive(Debug, Clone, Default)]
pub struct ServiceClientPatch {
    pub name: Option<DisplayName>,
    pub permissions: Option<PermissionSet>,
    pub metadata: Option<Metadata>,
}

/// Returns the service client, or an error if its user has more than the maximum. The user is
/// locked, so that no other service client is created for them until `tx` ends.
pub(crate) fn require_client_limit(
    tx: &mut Tx<'_>,
    settings: &Settings,
    made: (ServiceClient, NewEvent),
) -> Result<(ServiceClient, NewEvent), Error> {
    let most = settings.service_clients.max_per_user;
    if let (OwnerScope::User { generation_id, .. }, 1..) = (&made.0.home, most)
        && store::api_keys::service_clients::count(tx, generation_id)? > i64::from(most)
    {
        let message = format!("a user may have {most} service clients here (service_clients.max_per_user)");
        return Err(Error::invalid("owner", message));
    }
    Ok(made)
}

/// Like `create`, for the service client alone and within an open transaction.
pub(crate) fn make(
    tx: &mut Tx<'_>,
    new: NewServiceClient,
    caller: &Caller,
) -> Result<(ServiceClient, NewEvent), Error> {
    let (home, roles) = resolve_owner(tx, caller, new.owner)?;
    let mut faults =
        find_grant_faults(tx, &new.permissions, Some(AssignableOwnerType::ServiceClient), &caller.holdings)?;
    faults.extend(validate_user_permissions(&home, &roles, &new.permissions, "its owner"));
    let name = new.name.or_else(|| default_name(caller));
    if name.is_none() {
        faults.push(InputFault::new("name", "is needed: only what is made for a user is named after them"));
    }
    let Some(name) = name.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
    let client = ServiceClient {
        id: tx.generate_id()?,
        name,
        home,
        permissions: new.permissions,
        metadata: new.metadata,
        created_at: tx.now(),
        created_by: tx.creator(),
        version: 1,
    };
    store::api_keys::service_clients::insert(tx, &client)?;
    let event =
        event(EventType::ServiceClientCreated, &client).with_data("permissions", client.permissions.to_string());
    Ok((client, event))
}

/// Returns the default name, which contains the user that the service client is created for.
fn default_name(caller: &Caller) -> Option<DisplayName> {
    let user = caller.on_behalf_of.as_ref()?.user()?;
    format!("Service Client for {user}").parse().ok()
}

/// Returns the owner of a new service client and the permissions of the roles of a user.
fn resolve_owner(
    tx: &mut Tx<'_>,
    caller: &Caller,
    asked: Option<RequestedOwner>,
) -> Result<(OwnerScope, PermissionSet), Error> {
    let asked = match (asked, &caller.on_behalf_of) {
        (None, Some(_)) => Some(RequestedOwner::User { id: None, organization: None }),
        (None, None) if caller.authority.tenant_scope != TenantScope::Deployment => {
            Some(RequestedOwner::Organization { id: None })
        }
        (asked, _) => asked,
    };
    let holder = match asked {
        // The account. Only a caller that may manage every key passes the check below.
        None | Some(RequestedOwner::Unowned) => Some((OwnerScope::Account, PermissionSet::default())),
        Some(RequestedOwner::User { id, organization }) => {
            user_holder(tx, caller, id, organization)?.map(|holder| (holder.home, holder.roles))
        }
        Some(RequestedOwner::Organization { id }) => {
            organization_holder(tx, caller, id)?.map(|holder| (holder.home, holder.roles))
        }
        Some(RequestedOwner::ServiceClient(_)) => None,
    };
    let allowed = holder.filter(|(home, _)| caller.authority.rights_on(home, true).change);
    allowed.ok_or_else(|| Error::Invalid(vec![unknown_owner_fault()]))
}

pub async fn get(services: &Services, caller: &Caller, id: ServiceClientId) -> Result<ServiceClient, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let found = store::api_keys::service_clients::find(connection, &id)?;
            authorize(connection, &caller, found, Right::Read)
        })
        .await
}

/// Lists the service clients that the caller may see.
pub async fn list(services: &Services, caller: &Caller, page: PageRequest) -> Result<Page<ServiceClient>, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let mut listed =
                store::api_keys::service_clients::list(connection, &caller.authority.visible_keys(), &page)?;
            listed.data = retain_visible(connection, &caller, listed.data)?;
            Ok(listed)
        })
        .await
}

/// Loads and locks a service client for a change that needs `right`.
fn lock_client(tx: &mut Tx<'_>, caller: &Caller, id: &ServiceClientId, right: Right) -> Result<ServiceClient, Error> {
    let found = store::api_keys::service_clients::find_for_change(tx, id)?;
    authorize(tx, caller, found, right)
}

pub(crate) fn event(kind: EventType, client: &ServiceClient) -> NewEvent {
    NewEvent::new(kind, &client.id).with_organization(client.home.organization())
}

/// Returns an error if the change leaves the deployment without an administrator.
fn require_administrator(tx: &mut Tx<'_>, before: &ServiceClient, services: &Settings) -> Result<(), Error> {
    let admin: PermissionName = ADMIN.parse().map_err(Error::internal)?;
    if before.permissions.contains(&admin) {
        last_administrator::require_administrator_after_change(tx, &admin, services)
    } else {
        Ok(())
    }
}

/// Changes a service client. Removed permissions are missing from the next exchange of its keys.
/// The caller must be able to grant the added permissions.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: ServiceClientId,
    patch: ServiceClientPatch,
    if_version: Option<i64>,
) -> Result<ServiceClient, Error> {
    let (caller, settings) = (caller.clone(), services.settings.clone());
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let client = lock_client(tx, &caller, &id, Right::Change)?;
            crate::service::common::version::require_version(client.version, if_version)?;
            let (client, event) = patch_in(tx, client, patch, &caller, &settings)?;
            Ok(match event {
                Some(event) => Outcome::event(client, event),
                None => Outcome::without_event(client, NoEvent::Unchanged),
            })
        })
        .await
}

/// Like `patch`, within an open transaction, for a service client that is already locked. Returns
/// no event if nothing changed.
pub(crate) fn patch_in(
    tx: &mut Tx<'_>,
    mut client: ServiceClient,
    patch: ServiceClientPatch,
    caller: &Caller,
    settings: &Settings,
) -> Result<(ServiceClient, Option<NewEvent>), Error> {
    let before = client.clone();
    if let Some(permissions) = patch.permissions {
        let added = permissions.difference(&client.permissions).cloned().collect();
        let mut faults = find_grant_faults(tx, &added, Some(AssignableOwnerType::ServiceClient), &caller.holdings)?;
        if let OwnerScope::User { id, organization, .. } = &client.home {
            let place = owners::of_user(tx, id, organization.as_ref())?;
            let roles = place.map(|place| place.permissions).unwrap_or_default();
            faults.extend(validate_user_permissions(&client.home, &roles, &added, "its owner"));
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        client.permissions = permissions;
    }
    client.name = patch.name.unwrap_or(client.name);
    client.metadata = patch.metadata.unwrap_or(client.metadata);
    if client == before {
        return Ok((client, None));
    }
    store::api_keys::service_clients::update(tx, &client)?;
    client.version += 1;
    require_administrator(tx, &before, settings)?;
    let event =
        event(EventType::ServiceClientUpdated, &client).with_data("permissions", client.permissions.to_string());
    Ok((client, Some(event)))
}

/// Deletes a service client. Its keys stop working immediately and remain listed.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: ServiceClientId,
    if_version: Option<i64>,
) -> Result<(), Error> {
    let (caller, settings) = (caller.clone(), services.settings.clone());
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let client = lock_client(tx, &caller, &id, Right::End)?;
            crate::service::common::version::require_version(client.version, if_version)?;
            Ok(Outcome::event((), delete_in(tx, &client, &settings)?))
        })
        .await
}

/// Like `delete`, within an open transaction, for a service client that is already locked. Returns
/// `Error::Conflict` if the change leaves no administrator.
pub(crate) fn delete_in(tx: &mut Tx<'_>, client: &ServiceClient, settings: &Settings) -> Result<NewEvent, Error> {
    store::api_keys::service_clients::delete(tx, &client.id)?;
    require_administrator(tx, client, settings)?;
    store::directory::owner_deletions::record_deletion(
        tx,
        &DeletedOwner::ServiceClient(client.id.clone()),
        Deleted::ServiceClientDeleted,
    )?;
    Ok(event(EventType::ServiceClientDeleted, client))
}
