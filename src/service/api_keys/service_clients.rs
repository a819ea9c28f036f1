//! Service clients: identities of programs, each with its own permissions and any number of keys.

use crate::{
    config::Settings,
    domain::{
        access::{
            owner::OwnerScope,
            owner_status::DeletionCause,
            permission::{AssignableOwnerType, PermissionSet},
            policy::{ObjectRight, TenantScope},
        },
        common::{
            id::ServiceClientId,
            json::{Metadata, MetadataPatch, deserialize_present},
            name::DisplayName,
            page::{Page, PageRequest},
            preconditions::Preconditions,
        },
        directory::service_client::ServiceClient,
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::{
            access_records::{Grantor, find_addition_faults, find_statements_of_client},
            last_administrator, owners,
            permissions::find_grant_faults,
            visibility::{authorize, retain_visible},
        },
        api_keys::{
            RequestedOwner, limits::find_carried_faults, owner::ResolvedOwner, resolve_requested_owner,
            unknown_owner_fault, validate_user_permissions,
        },
        caller::Caller,
        common::{
            entry::{Entry, WriteResult, entry, merge_metadata, require_existing},
            quota::ExceededQuota,
        },
    },
    store::{self, NoEvent, Outcome, StoreError, Tx, directory::owner_deletions::DeletedOwner},
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

/// Changes to a service client.
#[derive(Debug, Clone, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceClientPatch {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub name: Option<DisplayName>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub permissions: Option<PermissionSet>,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false, value_type = Option<Metadata>)]
    pub metadata: Option<MetadataPatch>,
}

entry!(ServiceClient, "service client", store::api_keys::service_clients, |client, before| {
    let kind = before.map_or(EventType::ServiceClientCreated, |_| EventType::ServiceClientUpdated);
    event(kind, client).with_data("permissions", client.permissions.to_string())
});

/// Requires that the user who owns the new service client has at most the maximum number of them.
/// The user is locked, so that no other service client is created for them until `tx` ends.
pub(super) fn require_client_limit(tx: &mut Tx<'_>, settings: &Settings, client: &ServiceClient) -> Result<(), Error> {
    let limit = settings.service_clients.max_per_user;
    if let (OwnerScope::User { generation_id, .. }, 1..) = (&client.owner_scope, limit)
        && store::api_keys::service_clients::count(tx, generation_id)? > i64::from(limit)
    {
        return Err(ExceededQuota::ServiceClientsPerUser(limit).into());
    }
    Ok(())
}

/// Creates a service client alone, within an open transaction.
pub(crate) fn create_in(
    tx: &mut Tx<'_>,
    new: NewServiceClient,
    caller: &Caller,
) -> Result<(ServiceClient, NewEvent), Error> {
    let owner = resolve_owner(tx, caller, new.owner.clone())?;
    create_owned(tx, new, &owner, caller)
}

/// Like `create_in`, for an owner that is already resolved.
pub(super) fn create_owned(
    tx: &mut Tx<'_>,
    new: NewServiceClient,
    owner: &ResolvedOwner,
    caller: &Caller,
) -> Result<(ServiceClient, NewEvent), Error> {
    let to = Some(AssignableOwnerType::ServiceClient);
    let mut faults = find_grant_faults(tx, &new.permissions, to, &owner.owner_scope, &caller.holdings)?;
    faults.extend(validate_user_permissions(&owner.owner_scope, &owner.roles, &new.permissions, "its owner"));
    let name = new.name.or_else(|| default_name(caller));
    if name.is_none() {
        faults.push(InputFault::new("name", "is required, unless a user is the owner"));
    }
    let Some(name) = name.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
    let client = ServiceClient {
        id: tx.generate_id()?,
        name,
        owner_scope: owner.owner_scope.clone(),
        permissions: new.permissions,
        metadata: new.metadata,
        created_at: tx.now(),
        created_by: tx.creator(),
        version: 1,
    };
    client.insert(tx)?;
    let event = client.event(None);
    Ok((client, event))
}

/// Returns the default name, which contains the user that the service client is created for.
fn default_name(caller: &Caller) -> Option<DisplayName> {
    let user = caller.user_scope.as_ref()?.user()?;
    format!("Service Client for {user}").parse().ok()
}

/// Resolves the owner of a new service client.
pub(super) fn resolve_owner(
    tx: &mut Tx<'_>,
    caller: &Caller,
    requested: Option<RequestedOwner>,
) -> Result<ResolvedOwner, Error> {
    let requested = match (requested, &caller.user_scope) {
        (None, Some(_)) => RequestedOwner::User { id: None, organization_id: None },
        (None, None) if caller.authority.tenant_scope != TenantScope::Account => {
            RequestedOwner::Organization { id: None }
        }
        // The account. Only a caller that may manage every key passes the check of the rights.
        (None, None) => RequestedOwner::Unowned {},
        (Some(requested), _) => requested,
    };
    match requested {
        RequestedOwner::ServiceClient { .. } => Err(Error::Invalid(vec![unknown_owner_fault()])),
        RequestedOwner::Unowned {} | RequestedOwner::User { .. } | RequestedOwner::Organization { .. } => {
            resolve_requested_owner(tx, caller, requested)
        }
    }
}

pub async fn get(services: &Services, caller: &Caller, id: ServiceClientId) -> Result<ServiceClient, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let found = store::api_keys::service_clients::find(connection, &id)?;
            authorize(connection, &caller, found, ObjectRight::Read)
        })
        .await
}

/// Lists the service clients that the caller may see.
pub async fn list(services: &Services, caller: &Caller, page: PageRequest) -> Result<Page<ServiceClient>, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let mut clients =
                store::api_keys::service_clients::list(connection, &caller.authority.visible_keys(), &page)?;
            clients.data = retain_visible(connection, &caller, clients.data)?;
            Ok(clients)
        })
        .await
}

/// Loads and locks a service client for a change that needs `right`.
fn lock_client(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: &ServiceClientId,
    right: ObjectRight,
) -> Result<ServiceClient, Error> {
    let found = store::api_keys::service_clients::find_for_change(tx, id)?;
    authorize(tx, caller, found, right)
}

pub(crate) fn event(kind: EventType, client: &ServiceClient) -> NewEvent {
    NewEvent::new(kind, &client.id).with_organization(client.owner_scope.organization())
}

/// Changes a service client. Removed permissions are missing from the next exchange of its keys.
/// The caller must be able to grant the added permissions, and all of those of the service client
/// if it removes one.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: ServiceClientId,
    patch: ServiceClientPatch,
    preconditions: Preconditions,
) -> Result<ServiceClient, Error> {
    let settings = services.settings.clone();
    services
        .change(caller, move |tx, caller| {
            let client = lock_client(tx, caller, &id, ObjectRight::Change)?;
            let client = require_existing(Some(client), &preconditions)?;
            let (client, _, event) = patch_in(tx, client, patch, caller, &settings)?.into_parts();
            Ok(Outcome::events_unless(NoEvent::Unchanged, client, event.into_iter().collect()))
        })
        .await
}

/// Like `patch`, within an open transaction, for a service client that is already locked.
pub(crate) fn patch_in(
    tx: &mut Tx<'_>,
    before: ServiceClient,
    patch: ServiceClientPatch,
    caller: &Caller,
    settings: &Settings,
) -> Result<WriteResult<ServiceClient>, Error> {
    let mut client = before.clone();
    if let Some(permissions) = patch.permissions {
        let added = permissions.difference(&client.permissions).cloned().collect();
        let to = Some(AssignableOwnerType::ServiceClient);
        let mut faults = find_grant_faults(tx, &added, to, &client.owner_scope, &caller.holdings)?;
        let roles = owners::find_user_permissions(tx, &client.owner_scope)?;
        faults.extend(validate_user_permissions(&client.owner_scope, &roles, &added, "its owner"));
        if client.permissions.difference(&permissions).next().is_some() {
            let carried = match &client.owner_scope {
                OwnerScope::Account | OwnerScope::Organization { .. } => client.permissions.clone(),
                OwnerScope::User { .. } => client.permissions.intersection(&roles),
            };
            faults.extend(find_carried_faults(&carried, &caller.holdings));
        }
        let statements = find_statements_of_client(tx, &client.id, &client.owner_scope)?;
        let grantor = Grantor { caller, settings: &settings.access_records };
        faults.extend(find_addition_faults(tx, grantor, &added, &statements)?);
        Error::if_any(faults)?;
        client.permissions = permissions;
    }
    client.name = patch.name.unwrap_or(client.name);
    client.metadata = merge_metadata("metadata", patch.metadata, &before.metadata)?;
    let write = WriteResult::of(Some(&before), client);
    last_administrator::keep_administrator(tx, caller, settings, &before.permissions, |tx| write.write(tx))
}

/// Deletes a service client. Its keys stop working immediately and remain listed.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: ServiceClientId,
    preconditions: Preconditions,
) -> Result<(), Error> {
    let settings = services.settings.clone();
    services
        .end_access(caller, move |tx, caller| {
            let client = lock_client(tx, caller, &id, ObjectRight::End)?;
            let client = require_existing(Some(client), &preconditions)?;
            Ok(Outcome::event((), delete_in(tx, &client, caller, &settings)?))
        })
        .await
}

/// Like `delete`, within an open transaction, for a service client that is already locked. Returns
/// `Error::Conflict` if the change leaves no administrator.
pub(crate) fn delete_in(
    tx: &mut Tx<'_>,
    client: &ServiceClient,
    caller: &Caller,
    settings: &Settings,
) -> Result<NewEvent, Error> {
    last_administrator::keep_administrator(tx, caller, settings, &client.permissions, |tx| {
        Ok(store::api_keys::service_clients::delete(tx, &client.id)?)
    })?;
    let owner = DeletedOwner::ServiceClient(client.id.clone());
    store::directory::owner_deletions::record_deletion(tx, &owner, DeletionCause::ServiceClientDeleted)?;
    Ok(event(EventType::ServiceClientDeleted, client))
}
