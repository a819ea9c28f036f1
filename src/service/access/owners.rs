//! Directory lookups: the current state of the user or organization behind a key, or of the user
//! that a caller acts on behalf of.

use crate::{
    domain::{
        access::{owner::Home, permission::PermissionSet, role::RoleSet},
        common::id::{OrganizationId, UserId},
    },
    store::{self, Conn, StoreError},
};

/// The current state of a user or an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceNow {
    pub home: Home,
    pub blocked: bool,
    /// The permissions of the roles that apply there. Empty for an organization: the catalog
    /// determines what its keys may carry.
    pub permissions: PermissionSet,
    pub roles: RoleSet,
}

/// Returns a user, within an organization if one is given. Returns `None` if the user, the
/// organization or the membership does not exist.
pub fn of_user(
    connection: &mut Conn,
    user: &UserId,
    organization: Option<&OrganizationId>,
) -> Result<Option<PlaceNow>, StoreError> {
    let Some(found) = store::directory::users::find(connection, user)? else { return Ok(None) };
    let (roles, incarnation) = match organization {
        None => (found.roles, found.incarnation),
        Some(id) => {
            let Some(organization) = store::directory::organizations::find(connection, id)? else { return Ok(None) };
            let Some(member) = store::directory::members::find(connection, &organization, user)? else {
                return Ok(None);
            };
            (member.roles, member.incarnation)
        }
    };
    let permissions = store::access::roles::permissions_of(connection, &roles)?;
    let home = Home::User { id: user.clone(), organization: organization.cloned(), incarnation };
    Ok(Some(PlaceNow { home, blocked: found.blocked_at.is_some(), permissions, roles }))
}

/// Returns an organization, or `None` if it does not exist.
pub fn of_organization(connection: &mut Conn, id: &OrganizationId) -> Result<Option<PlaceNow>, StoreError> {
    let found = store::directory::organizations::find(connection, id)?;
    Ok(found.map(|organization| PlaceNow {
        home: Home::Organization { id: organization.id, incarnation: organization.incarnation },
        blocked: false,
        permissions: PermissionSet::default(),
        roles: RoleSet::default(),
    }))
}

/// Returns whether the owner still exists with the same generation id. A user or organization that
/// was created later with the same id is a different owner.
pub fn stands(connection: &mut Conn, home: &Home) -> Result<bool, StoreError> {
    let now = match home {
        Home::Account => return Ok(true),
        Home::Organization { id, .. } => of_organization(connection, id)?,
        Home::User { id, organization, .. } => of_user(connection, id, organization.as_ref())?,
    };
    Ok(now.is_some_and(|now| now.home == *home))
}
