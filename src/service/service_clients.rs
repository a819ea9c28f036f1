//! Service clients: identities for programs, each with permissions of its own and as many keys as it needs.

use crate::{
    domain::{
        event::{EventKind, NewEvent},
        id::ServiceClientId,
        json::Metadata,
        name::DisplayName,
        page::{Page, PageRequest},
        permission::{AssignableTo, PermissionName, PermissionSet},
        policy::{ADMIN, Rights},
        service_client::ServiceClient,
        standing::{Gone, Home},
    },
    store::{self, Outcome, Tx, departures::Departed},
};

use super::{
    App, Error, Fault, Settings, administrators,
    api_keys::{OwnerAsked, home_faults, nobody_such, organization_holder, user_holder},
    caller::Caller,
    idempotency::{self, Created, Idempotency},
    permissions::handing_out,
    places,
};

/// What `POST /v1/service-clients` says.
#[derive(Debug, Clone)]
pub struct NewServiceClient {
    /// Absent: after the user for whom it is made.
    pub name: Option<DisplayName>,
    /// Absent: the account, or whoever the caller is.
    pub owner: Option<OwnerAsked>,
    pub permissions: PermissionSet,
    pub metadata: Metadata,
}

/// What `PATCH /v1/service-clients/{id}` says; absent members stay as they are.
#[derive(Debug, Clone, Default)]
pub struct PatchServiceClient {
    pub name: Option<DisplayName>,
    pub permissions: Option<PermissionSet>,
    pub metadata: Option<Metadata>,
}

/// # Errors
/// Permissions that are unknown, not for service clients, or not the caller's to hand out; or it has no name.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewServiceClient,
    once: Option<Idempotency>,
) -> Result<Created<ServiceClient, ServiceClient>, Error> {
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::service_clients::find(tx, &id.parse()?)?.ok_or(Error::NotFound("service client"))?;
                return Ok(Outcome::bookkeeping(Created::Replayed(found)));
            }
            let (client, event) = make(tx, new, &caller)?;
            idempotency::remember(tx, once.as_ref(), client.id.as_str())?;
            Ok(Outcome::event(Created::New(client), event))
        })
        .await
}

/// Makes a service client, inside a change.
///
/// # Errors
/// As `create`.
pub(super) fn make(
    tx: &mut Tx<'_>,
    new: NewServiceClient,
    caller: &Caller,
) -> Result<(ServiceClient, NewEvent), Error> {
    let (home, roles) = home_of_new(tx, caller, new.owner)?;
    let mut faults = handing_out(tx, &new.permissions, Some(AssignableTo::ServiceClient), &caller.holdings)?;
    faults.extend(home_faults(&home, &roles, &new.permissions, "its owner"));
    let name = new.name.or_else(|| name_after(caller));
    if name.is_none() {
        faults.push(Fault::new("name", "is needed: only what is made for a user is named after them"));
    }
    let Some(name) = name.filter(|_| faults.is_empty()) else { return Err(Error::Invalid(faults)) };
    let client = ServiceClient {
        id: tx.new_id()?,
        name,
        home,
        permissions: new.permissions,
        metadata: new.metadata,
        created_at: tx.now(),
        created_by: tx.author(),
        version: 1,
    };
    store::service_clients::insert(tx, &client)?;
    let event = event(EventKind::ServiceClientCreated, &client).with("permissions", client.permissions.to_string());
    Ok((client, event))
}

/// What a service client is called where nobody says: after the user for whom it is made.
fn name_after(caller: &Caller) -> Option<DisplayName> {
    let user = caller.acts_as.as_ref()?.user()?;
    format!("Service Client for {user}").parse().ok()
}

/// Who a new service client belongs to, and what the roles of a user hold.
fn home_of_new(tx: &mut Tx<'_>, caller: &Caller, asked: Option<OwnerAsked>) -> Result<(Home, PermissionSet), Error> {
    let asked = match (asked, &caller.acts_as) {
        (None, Some(_)) => Some(OwnerAsked::User { id: None, organization: None }),
        (asked, _) => asked,
    };
    let holder = match asked {
        // The account's: whoever manages every key.
        None | Some(OwnerAsked::Nobody) => Some((Home::Account, PermissionSet::default())),
        Some(OwnerAsked::User { id, organization }) => {
            user_holder(tx, caller, id, organization)?.map(|holder| (holder.home, holder.roles))
        }
        Some(OwnerAsked::Organization { id }) => {
            organization_holder(tx, caller, id)?.map(|holder| (holder.home, holder.roles))
        }
        Some(OwnerAsked::ServiceClient(_)) => None,
    };
    let allowed = holder.filter(|(home, _)| caller.authority.over(home).change);
    allowed.ok_or_else(|| Error::Invalid(vec![nobody_such()]))
}

/// # Errors
/// No such service client.
pub async fn get(app: &App, caller: &Caller, id: ServiceClientId) -> Result<ServiceClient, Error> {
    let found = app.store.read(move |connection| store::service_clients::find(connection, &id)).await?;
    found.filter(|client| caller.authority.over(&client.home).see).ok_or(NOT_FOUND)
}

/// Those that the caller may see.
///
/// # Errors
/// The database does not answer.
pub async fn list(app: &App, caller: &Caller, page: PageRequest) -> Result<Page<ServiceClient>, Error> {
    let reach = caller.authority.reach();
    Ok(app.store.read(move |connection| store::service_clients::list(connection, &reach, &page)).await?)
}

const NOT_FOUND: Error = Error::NotFound("service client");

/// The service client, for a change that `right` allows.
fn found(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: &ServiceClientId,
    right: fn(Rights) -> bool,
) -> Result<ServiceClient, Error> {
    let client = store::service_clients::find_for_change(tx, id)?.ok_or(NOT_FOUND)?;
    let rights = caller.authority.over(&client.home);
    if right(rights) {
        Ok(client)
    } else if rights.see {
        Err(Error::Forbidden(if client.home.user().is_some() {
            "user-api-keys:manage-self"
        } else {
            "api-keys:manage"
        }))
    } else {
        Err(NOT_FOUND)
    }
}

fn event(kind: EventKind, client: &ServiceClient) -> NewEvent {
    NewEvent::new(kind, &client.id).within(client.home.organization())
}

/// Refuses to leave the deployment without an administrator.
fn keep_administrator(tx: &mut Tx<'_>, before: &ServiceClient, app: &Settings) -> Result<(), Error> {
    let admin: PermissionName = ADMIN.parse().map_err(|error| Error::Internal(format!("{ADMIN}: {error}")))?;
    if before.permissions.contains(&admin) { administrators::require_any(tx, &admin, app) } else { Ok(()) }
}

/// Changes a service client. Permissions that are taken away are gone from its keys' next exchange; those that are added must
/// be the caller's to hand out.
///
/// # Errors
/// No such service client, a newer version of it, or permissions that cannot be handed out.
pub async fn patch(
    app: &App,
    caller: &Caller,
    id: ServiceClientId,
    patch: PatchServiceClient,
    if_version: Option<i64>,
) -> Result<ServiceClient, Error> {
    let (caller, settings) = (caller.clone(), app.settings.clone());
    app.store
        .change(caller.origin.clone(), move |tx| {
            let client = found(tx, &caller, &id, |rights| rights.change)?;
            super::version::require_version(client.version, if_version)?;
            let (client, event) = patch_in(tx, client, patch, &caller, &settings)?;
            Ok(match event {
                Some(event) => Outcome::event(client, event),
                None => Outcome::bookkeeping(client),
            })
        })
        .await
}

/// As `patch`, inside a change, of a service client that was found for it.
///
/// # Errors
/// As `patch`.
pub(super) fn patch_in(
    tx: &mut Tx<'_>,
    mut client: ServiceClient,
    patch: PatchServiceClient,
    caller: &Caller,
    settings: &Settings,
) -> Result<(ServiceClient, Option<NewEvent>), Error> {
    let before = client.clone();
    if let Some(permissions) = patch.permissions {
        let added = permissions.without(&client.permissions).cloned().collect();
        let mut faults = handing_out(tx, &added, Some(AssignableTo::ServiceClient), &caller.holdings)?;
        if let Home::User { id, organization, .. } = &client.home {
            let place = places::of_user(tx, id, organization.as_ref())?;
            let roles = place.map(|place| place.permissions).unwrap_or_default();
            faults.extend(home_faults(&client.home, &roles, &added, "its owner"));
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
    store::service_clients::update(tx, &client)?;
    client.version += 1;
    keep_administrator(tx, &before, settings)?;
    let event = event(EventKind::ServiceClientUpdated, &client).with("permissions", client.permissions.to_string());
    Ok((client, Some(event)))
}

/// Takes a service client away. Its keys stop working at once, and stay listed.
///
/// # Errors
/// No such service client.
pub async fn delete(app: &App, caller: &Caller, id: ServiceClientId, if_version: Option<i64>) -> Result<(), Error> {
    let (caller, settings) = (caller.clone(), app.settings.clone());
    app.store
        .change(caller.origin.clone(), move |tx| {
            let client = found(tx, &caller, &id, |rights| rights.end)?;
            super::version::require_version(client.version, if_version)?;
            Ok(Outcome::event((), delete_in(tx, &client, &settings)?))
        })
        .await
}

/// As `delete`, inside a change, of a service client that was found for it.
///
/// # Errors
/// It would leave no administrator.
pub(super) fn delete_in(tx: &mut Tx<'_>, client: &ServiceClient, settings: &Settings) -> Result<NewEvent, Error> {
    store::service_clients::delete(tx, &client.id)?;
    keep_administrator(tx, client, settings)?;
    store::departures::note(tx, &Departed::ServiceClient(client.id.clone()), Gone::ServiceClientDeleted)?;
    Ok(event(EventKind::ServiceClientDeleted, client))
}
