//! Directory lookups: the current state of the user or organization behind a key, or of the user
//! that a caller acts on behalf of.

use crate::{
    domain::{
        access::{owner::OwnerScope, permission::PermissionSet, role::RoleSet},
        common::id::{OrganizationId, UserId},
    },
    store::{self, Conn, StoreError},
};

/// The current state of a user or an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub owner_scope: OwnerScope,
    /// Whether the product has blocked the user or an operator has locked them.
    pub blocked: bool,
    /// The permissions of the roles that apply there. Empty for an organization: the catalog
    /// determines what its keys may carry.
    pub permissions: PermissionSet,
    pub roles: RoleSet,
}

/// Returns a user, within an organization if one is given. Returns `None` if the user, the
/// organization or the membership does not exist.
pub fn find_user(
    connection: &mut Conn,
    user: &UserId,
    organization: Option<&OrganizationId>,
) -> Result<Option<DirectoryEntry>, StoreError> {
    let Some(found) = store::directory::users::find(connection, user)? else { return Ok(None) };
    let (roles, generation_id) = match organization {
        None => (found.roles, found.generation_id),
        Some(id) => {
            let Some(organization) = store::directory::organizations::find(connection, id)? else { return Ok(None) };
            let Some(member) = store::directory::members::find(connection, &organization, user)? else {
                return Ok(None);
            };
            (member.roles, member.generation_id)
        }
    };
    let permissions = store::access::roles::read_permissions_of_roles(connection, &roles)?;
    let owner_scope = OwnerScope::User { id: user.clone(), organization: organization.cloned(), generation_id };
    let blocked = found.blocked_at.or(found.locked_at).is_some();
    Ok(Some(DirectoryEntry { owner_scope, blocked, permissions, roles }))
}

/// Returns an organization, or `None` if it does not exist.
pub fn find_organization(connection: &mut Conn, id: &OrganizationId) -> Result<Option<DirectoryEntry>, StoreError> {
    let found = store::directory::organizations::find(connection, id)?;
    Ok(found.map(|organization| DirectoryEntry {
        owner_scope: OwnerScope::Organization { id: organization.id, generation_id: organization.generation_id },
        blocked: false,
        permissions: PermissionSet::default(),
        roles: RoleSet::default(),
    }))
}

/// Returns the permissions of the roles of the user behind an object; empty for other owners.
pub fn find_user_permissions(connection: &mut Conn, owner: &OwnerScope) -> Result<PermissionSet, StoreError> {
    let OwnerScope::User { id, organization, .. } = owner else { return Ok(PermissionSet::default()) };
    let found = find_user(connection, id, organization.as_ref())?;
    Ok(found.map(|entry| entry.permissions).unwrap_or_default())
}

/// Returns whether the owner still exists with the same generation id. A user or organization that
/// was created later with the same id is a different owner.
pub fn owner_exists(connection: &mut Conn, owner_scope: &OwnerScope) -> Result<bool, StoreError> {
    let current = match owner_scope {
        OwnerScope::Account => return Ok(true),
        OwnerScope::Organization { id, .. } => find_organization(connection, id)?,
        OwnerScope::User { id, organization, .. } => find_user(connection, id, organization.as_ref())?,
    };
    Ok(current.is_some_and(|entry| entry.owner_scope == *owner_scope))
}
