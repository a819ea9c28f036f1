//! Where someone stands in the directory now: who stands behind a new key, and whom a caller acts for.

use crate::{
    domain::{
        id::{OrganizationId, UserId},
        permission::PermissionSet,
        role::RoleSet,
        standing::Home,
    },
    store::{self, Conn, StoreError},
};

/// A user or an organization as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceNow {
    pub home: Home,
    pub blocked: bool,
    /// What the roles that count there hold; for an organization, what may be assigned to its keys is for the catalog to say.
    pub permissions: PermissionSet,
    pub roles: RoleSet,
}

/// A user, within an organization or not; nothing when there is no such user, organization or member.
///
/// # Errors
/// The database does not answer.
pub fn of_user(
    connection: &mut Conn,
    user: &UserId,
    organization: Option<&OrganizationId>,
) -> Result<Option<PlaceNow>, StoreError> {
    let Some(found) = store::users::find(connection, user)? else { return Ok(None) };
    let (roles, incarnation) = match organization {
        None => (found.roles, found.incarnation),
        Some(id) => {
            let Some(organization) = store::organizations::find(connection, id)? else { return Ok(None) };
            let Some(member) = store::members::find(connection, &organization, user)? else { return Ok(None) };
            (member.roles, member.incarnation)
        }
    };
    let permissions = store::roles::permissions_of(connection, &roles)?;
    let home = Home::User { id: user.clone(), organization: organization.cloned(), incarnation };
    Ok(Some(PlaceNow { home, blocked: found.blocked_at.is_some(), permissions, roles }))
}

/// An organization itself; nothing when there is none.
///
/// # Errors
/// The database does not answer.
pub fn of_organization(connection: &mut Conn, id: &OrganizationId) -> Result<Option<PlaceNow>, StoreError> {
    let found = store::organizations::find(connection, id)?;
    Ok(found.map(|organization| PlaceNow {
        home: Home::Organization { id: organization.id, incarnation: organization.incarnation },
        blocked: false,
        permissions: PermissionSet::default(),
        roles: RoleSet::default(),
    }))
}

/// Whether who stands behind something is still there, and nobody else who was given the same id since.
///
/// # Errors
/// The database does not answer.
pub fn stands(connection: &mut Conn, home: &Home) -> Result<bool, StoreError> {
    let now = match home {
        Home::Account => return Ok(true),
        Home::Organization { id, .. } => of_organization(connection, id)?,
        Home::User { id, organization, .. } => of_user(connection, id, organization.as_ref())?,
    };
    Ok(now.is_some_and(|now| now.home == *home))
}
