//! Service clients: identities for programs, each with permissions of its own and as many keys as it needs.

use crate::{
    domain::{
        event::{EventKind, NewEvent},
        id::ServiceClientId,
        json::Metadata,
        name::DisplayName,
        page::{Page, PageRequest},
        permission::{AssignableTo, PermissionSet},
        service_client::{ClientOwner, ServiceClient},
    },
    store::{self, Outcome},
};

use super::{
    App, Error,
    caller::Caller,
    idempotency::{self, Created, Idempotency},
    permissions::handing_out,
};

/// What `POST /v1/service-clients` says.
#[derive(Debug, Clone)]
pub struct NewServiceClient {
    pub name: DisplayName,
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
/// Permissions that are unknown, not for service clients, or not the caller's to hand out.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewServiceClient,
    once: Option<Idempotency>,
) -> Result<Created<ServiceClient, ServiceClient>, Error> {
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::service_clients::find(tx, &id.parse()?)?.ok_or(Error::NotFound("service client"))?;
                return Ok(Outcome::bookkeeping(Created::Replayed(found)));
            }
            let faults = handing_out(tx, &new.permissions, Some(AssignableTo::ServiceClient), &holdings)?;
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            let client = ServiceClient {
                id: tx.new_id()?,
                name: new.name,
                owner: ClientOwner::ACCOUNT,
                permissions: new.permissions,
                metadata: new.metadata,
                created_at: tx.now(),
                created_by: tx.actor(),
                version: 1,
            };
            store::service_clients::insert(tx, &client)?;
            idempotency::remember(tx, once.as_ref(), client.id.as_str())?;
            let event = NewEvent::new(EventKind::ServiceClientCreated, &client.id)
                .with("permissions", client.permissions.to_string());
            Ok(Outcome::event(Created::New(client), event))
        })
        .await
}

/// # Errors
/// No such service client.
pub async fn get(app: &App, id: ServiceClientId) -> Result<ServiceClient, Error> {
    let found = app.store.read(move |connection| store::service_clients::find(connection, &id)).await?;
    found.ok_or(Error::NotFound("service client"))
}

/// # Errors
/// The database does not answer.
pub async fn list(app: &App, page: PageRequest) -> Result<Page<ServiceClient>, Error> {
    Ok(app.store.read(move |connection| store::service_clients::list(connection, &page)).await?)
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
    let holdings = caller.holdings.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::service_clients::find_for_change(tx, &id)?;
            let mut client = found.ok_or(Error::NotFound("service client"))?;
            super::version::require_version(client.version, if_version)?;
            let before = client.clone();
            if let Some(permissions) = patch.permissions {
                let added = permissions.without(&client.permissions).cloned().collect();
                let faults = handing_out(tx, &added, Some(AssignableTo::ServiceClient), &holdings)?;
                if !faults.is_empty() {
                    return Err(Error::Invalid(faults));
                }
                client.permissions = permissions;
            }
            client.name = patch.name.unwrap_or(client.name);
            client.metadata = patch.metadata.unwrap_or(client.metadata);
            if client == before {
                return Ok(Outcome::bookkeeping(client));
            }
            store::service_clients::update(tx, &client)?;
            client.version += 1;
            let event = NewEvent::new(EventKind::ServiceClientUpdated, &client.id)
                .with("permissions", client.permissions.to_string());
            Ok(Outcome::event(client, event))
        })
        .await
}

/// Takes a service client away. Its keys stop working at once, and stay listed.
///
/// # Errors
/// No such service client.
pub async fn delete(app: &App, caller: &Caller, id: ServiceClientId, if_version: Option<i64>) -> Result<(), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let found = store::service_clients::find_for_change(tx, &id)?;
            let client = found.ok_or(Error::NotFound("service client"))?;
            super::version::require_version(client.version, if_version)?;
            store::service_clients::delete(tx, &id)?;
            Ok(Outcome::event((), NewEvent::new(EventKind::ServiceClientDeleted, &id)))
        })
        .await
}
