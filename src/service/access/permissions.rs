//! The permission catalog: the permissions that exist, and the owner types whose keys may carry
//! them.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{
            owner::OwnerScope,
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            policy::GrantablePermissions,
        },
        common::{
            name::Description,
            page::{Page, PageRequest},
            preconditions::Preconditions,
        },
        events::{EventType, NewEvent},
    },
    service::{
        Conflict, Error, InputFault, Services,
        caller::Caller,
        common::entry::{WriteResult, entry, require_existing, require_found},
    },
    store::{self, Outcome, StoreError, Tx},
};

/// Input of `PUT /v1/permissions/{name}`.
#[derive(Debug, Clone)]
pub struct PermissionInput {
    pub name: PermissionName,
    pub description: Option<Description>,
    pub assignable_to: BTreeSet<AssignableOwnerType>,
}

entry!(Permission, "permission", store::access::permissions, |permission, before| {
    NewEvent::new(before.map_or(EventType::PermissionCreated, |_| EventType::PermissionUpdated), &permission.name)
});

/// Adds a permission to the catalog or changes it. Returns `true` if it is new. An identical
/// permission changes nothing and appends no event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: PermissionInput,
    preconditions: Preconditions,
) -> Result<(Permission, bool), Error> {
    services.change(caller, move |tx, _| Ok(put_in(tx, put, &preconditions)?.into())).await
}

/// Like `put`, within an open transaction.
pub(crate) fn put_in(
    tx: &mut Tx<'_>,
    put: PermissionInput,
    preconditions: &Preconditions,
) -> Result<WriteResult<Permission>, Error> {
    let before = lock(tx, &put.name)?;
    preconditions.check(before.as_ref().map(|found| found.version).into())?;
    let PermissionInput { name, description, assignable_to } = put;
    let after = match &before {
        Some(permission) if permission.built_in => {
            // The deployment decides which keys may carry the management permissions of tenants.
            let is_described = description.is_none() || description == permission.description;
            if !name.is_tenant_management() || !is_described {
                return Err(Error::Conflict(Conflict::BuiltInChanged(name.to_string())));
            }
            Permission { assignable_to, ..permission.clone() }
        }
        Some(permission) => Permission { description, assignable_to, ..permission.clone() },
        None if name.is_management() => {
            return Err(Error::invalid("name", "names that begin with keyswap: are reserved"));
        }
        None => Permission { name, description, assignable_to, built_in: false, created_at: tx.now(), version: 1 },
    };
    WriteResult::of(before.as_ref(), after).write(tx)
}

pub async fn get(services: &Services, name: PermissionName) -> Result<Permission, Error> {
    let found = services.store.read(move |connection| store::access::permissions::find(connection, &name)).await?;
    require_found(found)
}

/// Lists the catalog, or only the permissions that keys of the owner type `to` may carry.
pub async fn list(
    services: &Services,
    to: Option<AssignableOwnerType>,
    page: PageRequest,
) -> Result<Page<Permission>, Error> {
    Ok(services
        .store
        .read(move |connection| store::access::permissions::list_assignable(connection, to, &page))
        .await?)
}

/// Removes a permission from the catalog. Returns `Conflict::PermissionInUse` while a key, service
/// client, audience or role has it, so that the meaning of a key does not change unnoticed.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    name: PermissionName,
    preconditions: Preconditions,
) -> Result<(), Error> {
    services.change(caller, move |tx, _| Ok(Outcome::event((), delete_in(tx, &name, &preconditions)?))).await
}

/// Like `delete`, within an open transaction.
pub(crate) fn delete_in(
    tx: &mut Tx<'_>,
    name: &PermissionName,
    preconditions: &Preconditions,
) -> Result<NewEvent, Error> {
    if require_existing(lock(tx, name)?, preconditions)?.built_in {
        return Err(Error::Conflict(Conflict::BuiltInDeleted(name.to_string())));
    }
    let mut users = store::api_keys::keys::find_ids_with_permission(tx, name)?;
    users.extend(store::api_keys::service_clients::find_ids_with_permission(tx, name)?);
    users.extend(store::access::audiences::find_identifiers_with_permission(tx, name)?);
    users.extend(store::access::roles::find_names_with_permission(tx, name)?);
    if !users.is_empty() {
        return Err(Error::Conflict(Conflict::PermissionInUse { permission: name.clone(), users }));
    }
    store::access::permissions::delete(tx, name)?;
    Ok(NewEvent::new(EventType::PermissionDeleted, name))
}

fn lock(tx: &mut Tx<'_>, name: &PermissionName) -> Result<Option<Permission>, StoreError> {
    Ok(store::access::permissions::find_many_for_update(tx, &[name.clone()].into_iter().collect())?.pop())
}

/// Returns every fault in granting `names`: permissions that are not in the catalog, that this
/// owner type may not carry, or that the caller cannot grant. A service client of a user or an
/// organization may carry a management permission only if the keys of its owner may. The
/// permissions in the catalog are locked until `tx` ends.
pub(crate) fn find_grant_faults(
    tx: &mut Tx<'_>,
    names: &PermissionSet,
    to: Option<AssignableOwnerType>,
    owner_scope: &OwnerScope,
    grantable: &GrantablePermissions,
) -> Result<Vec<InputFault>, Error> {
    let catalog = store::access::permissions::find_many_for_update(tx, names)?;
    let tenant = match owner_scope {
        OwnerScope::Account => None,
        OwnerScope::Organization { .. } => Some(AssignableOwnerType::Organization),
        OwnerScope::User { .. } => Some(AssignableOwnerType::User),
    };
    let fault = |name: &PermissionName| {
        let Some(known) = catalog.iter().find(|known| known.name == *name) else {
            let message = format!("{name} is not in the catalog: PUT /v1/permissions/{name} first");
            return Some(InputFault::new("permissions", message));
        };
        let mut required = to.into_iter().chain(tenant.filter(|_| name.is_management()));
        if let Some(to) = required.find(|to| !known.assignable_to.contains(to)) {
            let article = if to == AssignableOwnerType::Organization { "an" } else { "a" };
            let message = format!("{name} cannot be assigned to {article} {}", to.as_str().replace('_', " "));
            return Some(InputFault::new("permissions", message));
        }
        check_grantable(name, grantable)
    };
    Ok(names.iter().filter_map(fault).collect())
}

/// Returns a fault if the caller cannot grant the permission, because it does not have it.
pub(crate) fn check_grantable(name: &PermissionName, grantable: &GrantablePermissions) -> Option<InputFault> {
    let fault = || InputFault::new("permissions", format!("you cannot grant {name}, because you do not have it"));
    (!grantable.can_grant(name)).then(fault)
}
