//! Roles: the permissions of members, and of users outside of any organization.

use crate::{
    domain::{
        access::{
            permission::PermissionSet,
            policy::GrantablePermissions,
            role::{Role, RoleName, RoleSet},
        },
        common::{
            name::DisplayName,
            page::{Page, PageRequest},
        },
        events::{EventType, NewEvent},
    },
    service::{
        Conflict, Error, InputFault, Services, access::permissions::find_grant_faults, caller::Caller,
        common::version::require_version,
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
};

/// Input of `PUT /v1/roles/{name}`.
#[derive(Debug, Clone)]
pub struct RoleInput {
    pub name: RoleName,
    pub description: Option<DisplayName>,
    pub permissions: PermissionSet,
}

/// Creates or changes a role. Returns `true` if it is new. An identical role changes nothing and
/// appends no event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: RoleInput,
    if_version: Option<i64>,
) -> Result<(Role, bool), Error> {
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let (role, is_new, event) = put_in(tx, put, if_version)?;
            Ok(match event {
                Some(event) => Outcome::event((role, is_new), event),
                None => Outcome::without_event((role, is_new), NoEvent::Unchanged),
            })
        })
        .await
}

/// Like `put`, within an open transaction. Returns no event if nothing changed.
pub(crate) fn put_in(
    tx: &mut Tx<'_>,
    put: RoleInput,
    if_version: Option<i64>,
) -> Result<(Role, bool, Option<NewEvent>), Error> {
    let existing = store::access::roles::find_many_for_update(tx, &[put.name.clone()].into_iter().collect())?.pop();
    require_version(existing.as_ref().map_or(0, |role| role.version), if_version)?;
    let mut faults = find_grant_faults(tx, &put.permissions, None, &GrantablePermissions::WholeCatalog)?;
    for name in put.permissions.iter().filter(|name| name.as_str().starts_with("keyswap:")) {
        faults.push(InputFault::new(
            "permissions",
            format!("{name} governs the deployment: only service clients may have it"),
        ));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    match existing {
        Some(role) if role.description == put.description && role.permissions == put.permissions => {
            Ok((role, false, None))
        }
        Some(mut role) => {
            role.description = put.description;
            role.permissions = put.permissions;
            store::access::roles::update(tx, &role)?;
            role.version += 1;
            let event = NewEvent::new(EventType::RoleUpdated, &role.name)
                .with_data("permissions", role.permissions.to_string());
            Ok((role, false, Some(event)))
        }
        None => {
            let role = Role {
                name: put.name,
                description: put.description,
                permissions: put.permissions,
                created_at: tx.now(),
                version: 1,
            };
            match store::access::roles::insert(tx, &role) {
                Err(StoreError::Conflict(_)) => {
                    return Err(Conflict::ChangedConcurrently(role.name.to_string()).into());
                }
                other => other?,
            }
            let event = NewEvent::new(EventType::RoleCreated, &role.name)
                .with_data("permissions", role.permissions.to_string());
            Ok((role, true, Some(event)))
        }
    }
}

pub async fn get(services: &Services, name: RoleName) -> Result<Role, Error> {
    let found = services.store.read(move |connection| store::access::roles::find(connection, &name)).await?;
    found.ok_or(Error::NotFound("role"))
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<Role>, Error> {
    Ok(services.store.read(move |connection| store::access::roles::list(connection, &page)).await?)
}

/// Deletes a role. Returns `Error::Conflict` while it is assigned or an access record uses it, so
/// that no user loses permissions unnoticed. The message names some of the users and access
/// records.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    name: RoleName,
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
pub(crate) fn delete_in(tx: &mut Tx<'_>, name: &RoleName, if_version: Option<i64>) -> Result<NewEvent, Error> {
    let found = store::access::roles::find_many_for_update(tx, &[name.clone()].into_iter().collect())?.pop();
    require_version(found.ok_or(Error::NotFound("role"))?.version, if_version)?;
    let holders = store::access::roles::find_role_assignments(tx, name)?;
    if !holders.is_empty() {
        return Err(Conflict::RoleInUse { role: name.clone(), users: holders }.into());
    }
    store::access::roles::delete(tx, name)?;
    Ok(NewEvent::new(EventType::RoleDeleted, name))
}

/// Returns a fault for each role that does not exist. The existing ones are locked until `tx` ends.
pub(crate) fn unknown(tx: &mut Tx<'_>, wanted: &RoleSet) -> Result<Vec<InputFault>, StoreError> {
    let known = store::access::roles::find_many_for_update(tx, wanted)?;
    Ok(unknown_role_faults(&known.into_iter().map(|role| role.name).collect(), wanted))
}

/// Like `unknown`, for a given set of existing roles.
pub(crate) fn unknown_role_faults(known: &RoleSet, wanted: &RoleSet) -> Vec<InputFault> {
    let unknown = wanted.iter().filter(|name| !known.contains(name));
    unknown
        .map(|name| InputFault::new("roles", format!("there is no role {name}: PUT /v1/roles/{name} first")))
        .collect()
}
