//! Roles: the permissions of members, and of users outside of any organization.

use crate::{
    domain::{
        access::{
            owner::OwnerScope,
            permission::PermissionSet,
            policy::GrantablePermissions,
            role::{Role, RoleName, RoleSet},
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
        access::permissions::find_grant_faults,
        caller::Caller,
        common::entry::{WriteResult, entry, require_existing, require_found},
    },
    store::{self, Outcome, StoreError, Tx},
};

/// Input of `PUT /v1/roles/{name}`.
#[derive(Debug, Clone)]
pub struct RoleInput {
    pub name: RoleName,
    pub description: Option<Description>,
    pub permissions: PermissionSet,
}

entry!(Role, "role", store::access::roles, |role, before| {
    let kind = before.map_or(EventType::RoleCreated, |_| EventType::RoleUpdated);
    NewEvent::new(kind, &role.name).with_data("permissions", role.permissions.to_string())
});

/// Creates or changes a role. Returns `true` if it is new. An identical role changes nothing and
/// appends no event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    put: RoleInput,
    preconditions: Preconditions,
) -> Result<(Role, bool), Error> {
    services.change(caller, move |tx, _| Ok(put_in(tx, put, &preconditions)?.into())).await
}

/// Like `put`, within an open transaction.
pub(crate) fn put_in(
    tx: &mut Tx<'_>,
    put: RoleInput,
    preconditions: &Preconditions,
) -> Result<WriteResult<Role>, Error> {
    let before = lock(tx, &put.name)?;
    preconditions.check(before.as_ref().map(|role| role.version).into())?;
    let mut faults =
        find_grant_faults(tx, &put.permissions, None, &OwnerScope::Account, &GrantablePermissions::WholeCatalog)?;
    for name in put.permissions.iter().filter(|name| name.as_str().starts_with("keyswap:")) {
        faults.push(InputFault::new("permissions", format!("{name} can be given to service clients only")));
    }
    Error::if_any(faults)?;
    let (created_at, version) = before.as_ref().map_or((tx.now(), 1), |role| (role.created_at, role.version));
    let RoleInput { name, description, permissions } = put;
    WriteResult::of(before.as_ref(), Role { name, description, permissions, created_at, version }).write(tx)
}

pub async fn get(services: &Services, name: RoleName) -> Result<Role, Error> {
    require_found(services.store.read(move |connection| store::access::roles::find(connection, &name)).await?)
}

pub async fn list(services: &Services, page: PageRequest) -> Result<Page<Role>, Error> {
    Ok(services.store.read(move |connection| store::access::roles::list(connection, &page)).await?)
}

/// Deletes a role. Returns `Conflict::RoleInUse` while it is assigned or an access record uses it,
/// so that no user loses permissions unnoticed.
pub async fn delete(
    services: &Services,
    caller: &Caller,
    name: RoleName,
    preconditions: Preconditions,
) -> Result<(), Error> {
    services.change(caller, move |tx, _| Ok(Outcome::event((), delete_in(tx, &name, &preconditions)?))).await
}

/// Like `delete`, within an open transaction.
pub(crate) fn delete_in(tx: &mut Tx<'_>, name: &RoleName, preconditions: &Preconditions) -> Result<NewEvent, Error> {
    require_existing(lock(tx, name)?, preconditions)?;
    let users = store::access::roles::find_role_assignments(tx, name)?;
    if !users.is_empty() {
        return Err(Error::Conflict(Conflict::RoleInUse { role: name.clone(), users }));
    }
    store::access::roles::delete(tx, name)?;
    Ok(NewEvent::new(EventType::RoleDeleted, name))
}

fn lock(tx: &mut Tx<'_>, name: &RoleName) -> Result<Option<Role>, StoreError> {
    Ok(store::access::roles::find_many_for_update(tx, &[name.clone()].into_iter().collect())?.pop())
}

/// Returns an error that names each role that does not exist. The existing ones are locked until
/// `tx` ends.
pub(crate) fn require_known(tx: &mut Tx<'_>, names: &RoleSet) -> Result<(), Error> {
    Error::if_any(find_unknown(tx, names)?)
}

/// Returns a fault for each role that does not exist. The existing ones are locked until `tx` ends.
pub(crate) fn find_unknown(tx: &mut Tx<'_>, names: &RoleSet) -> Result<Vec<InputFault>, StoreError> {
    let known = store::access::roles::find_many_for_update(tx, names)?;
    Ok(find_unknown_in(&known.into_iter().map(|role| role.name).collect(), names))
}

/// Like `find_unknown`, for a given set of existing roles.
pub(crate) fn find_unknown_in(known: &RoleSet, names: &RoleSet) -> Vec<InputFault> {
    let unknown = names.iter().filter(|name| !known.contains(name));
    unknown
        .map(|name| InputFault::new("roles", format!("there is no role {name}: PUT /v1/roles/{name} first")))
        .collect()
}
