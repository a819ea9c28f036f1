//! The permission catalog: the permissions that exist, and the owner types whose keys may carry
//! them.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            policy::GrantablePermissions,
        },
        common::{
            name::DisplayName,
            page::{Page, PageRequest},
        },
        events::{EventType, NewEvent},
    },
    service::{Conflict, Error, InputFault, Services, caller::Caller},
    store::{self, NoEvent, Outcome, StoreError, Tx},
};

/// Input of `PUT /v1/permissions/{name}`.
#[derive(Debug, Clone)]
pub struct PermissionInput {
    pub name: PermissionName,
    pub description: Option<DisplayName>,
    pub assignable_to: BTreeSet<AssignableOwnerType>,
}

/// Adds a permission to the catalog or changes it. Returns `true` if it is new. An identical
/// permission changes nothing and appends no event.
///
/// Returns `Error::Conflict` for a built-in permission, and `Error::Invalid` for a new name that is
/// reserved for Keyswap.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: PermissionInput,
    if_version: Option<i64>,
) -> Result<(Permission, bool), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let (permission, is_new, event) = put_in(tx, put, if_version)?;
            Ok(match event {
                Some(event) => Outcome::event((permission, is_new), event),
                None => Outcome::without_event((permission, is_new), NoEvent::Unchanged),
            })
        })
        .await
}

/// Like `put`, within an open transaction. Returns no event if nothing changed.
pub(crate) fn put_in(
    tx: &mut Tx<'_>,
    put: PermissionInput,
    if_version: Option<i64>,
) -> Result<(Permission, bool, Option<NewEvent>), Error> {
    let names: PermissionSet = [put.name.clone()].into_iter().collect();
    let existing = store::access::permissions::find_many_for_update(tx, &names)?.pop();
    crate::service::common::version::require_version(existing.as_ref().map_or(0, |found| found.version), if_version)?;
    match existing {
        Some(permission) if permission.built_in => Err(Conflict::BuiltInChanged(put.name.to_string()).into()),
        Some(permission)
            if permission.description == put.description && permission.assignable_to == put.assignable_to =>
        {
            Ok((permission, false, None))
        }
        Some(mut permission) => {
            permission.description = put.description;
            permission.assignable_to = put.assignable_to;
            store::access::permissions::update(tx, &permission)?;
            permission.version += 1;
            let event = NewEvent::new(EventType::PermissionUpdated, &permission.name);
            Ok((permission, false, Some(event)))
        }
        None if put.name.is_management() => {
            Err(Error::invalid("name", "names that begin with keyswap: are kept for Keyswap itself"))
        }
        None => {
            let permission = Permission {
                name: put.name,
                description: put.description,
                assignable_to: put.assignable_to,
                built_in: false,
                created_at: tx.now(),
                version: 1,
            };
            match store::access::permissions::insert(tx, &permission) {
                Err(StoreError::Conflict(_)) => {
                    return Err(Conflict::ChangedConcurrently(permission.name.to_string()).into());
                }
                other => other?,
            }
            let event = NewEvent::new(EventType::PermissionCreated, &permission.name);
            Ok((permission, true, Some(event)))
        }
    }
}

pub async fn get(services: &Services, name: PermissionName) -> Result<Permission, Error> {
    let found = services.store.read(move |connection| store::access::permissions::find(connection, &name)).await?;
    found.ok_or(Error::NotFound("permission"))
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

/// Removes a permission from the catalog. Returns `Error::Conflict` while a key, service client,
/// audience or role carries it, so that the meaning of a key does not change unnoticed. The message
/// names some of the carriers.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    name: PermissionName,
    if_version: Option<i64>,
) -> Result<(), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let event = delete_in(tx, &name, if_version)?;
            Ok(Outcome::event((), event))
        })
        .await
}

/// Like `delete`, within an open transaction.
pub(crate) fn delete_in(tx: &mut Tx<'_>, name: &PermissionName, if_version: Option<i64>) -> Result<NewEvent, Error> {
    let names: PermissionSet = [name.clone()].into_iter().collect();
    let found =
        store::access::permissions::find_many_for_update(tx, &names)?.pop().ok_or(Error::NotFound("permission"))?;
    crate::service::common::version::require_version(found.version, if_version)?;
    if found.built_in {
        return Err(Conflict::BuiltInDeleted(name.to_string()).into());
    }
    let mut carriers = store::api_keys::keys::find_ids_with_permission(tx, name)?;
    carriers.extend(store::api_keys::service_clients::holding(tx, name)?);
    carriers.extend(store::access::audiences::find_identifiers_with_permission(tx, name)?);
    carriers.extend(store::access::roles::find_names_with_permission(tx, name)?);
    if !carriers.is_empty() {
        return Err(Conflict::PermissionInUse { permission: name.clone(), users: carriers }.into());
    }
    store::access::permissions::delete(tx, name)?;
    Ok(NewEvent::new(EventType::PermissionDeleted, name))
}

/// Returns every fault in granting `wanted`: permissions that are not in the catalog, that this
/// owner type may not carry, or that the caller does not hold. Those in the catalog are locked
/// until `tx` ends.
pub(crate) fn find_grant_faults(
    tx: &mut Tx<'_>,
    wanted: &PermissionSet,
    to: Option<AssignableOwnerType>,
    holdings: &GrantablePermissions,
) -> Result<Vec<InputFault>, Error> {
    let catalog = store::access::permissions::find_many_for_update(tx, wanted)?;
    let fault = |name: &PermissionName| {
        let Some(known) = catalog.iter().find(|known| known.name == *name) else {
            let message = format!("{name} is not in the catalog: PUT /v1/permissions/{name} first");
            return Some(InputFault::new("permissions", message));
        };
        if let Some(to) = to.filter(|to| !known.assignable_to.contains(to)) {
            let message = format!("{name} may not be assigned to a {}", to.as_str().replace('_', " "));
            return Some(InputFault::new("permissions", message));
        }
        not_held(name, holdings)
    };
    Ok(wanted.iter().filter_map(fault).collect())
}

/// Returns a fault if the caller does not hold the permission and therefore cannot grant it.
pub(crate) fn not_held(name: &PermissionName, holdings: &GrantablePermissions) -> Option<InputFault> {
    let fault = || InputFault::new("permissions", format!("{name} is not yours to hand out: you do not hold it"));
    (!holdings.can_grant(name)).then(fault)
}
