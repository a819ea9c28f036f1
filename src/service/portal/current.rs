//! The data that a user's own key page needs before it renders.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            key_visibility::KeyVisibility,
            owner::{OwnerScope, OwnerType},
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            policy::ObjectRights,
            role::{Role, RoleName},
        },
        common::{
            id::{OrganizationId, UserId},
            name::Description,
            page::PageRequest,
            time::Span,
        },
        portal::session::KeyFormOption,
    },
    service::{Error, Services, access::owners, caller::Caller},
    store::{self, Conn, StoreError},
};

/// The user of the current session, and what they can do there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CurrentPortalSession)]
pub struct CurrentUser {
    user_id: UserId,
    organization_id: Option<OrganizationId>,
    /// What the user can do with their own keys.
    user: KeyAccess,
    /// What the user can do with the keys of the organization. Null outside any organization.
    organization: Option<KeyAccess>,
    /// Whether the user can see, suspend and revoke the keys of every member.
    sees_everyone: bool,
    /// Maximum lifetime of a key in seconds.
    max_lifetime: Option<u64>,
    /// What the user selects for a new key: any of `permissions`, `roles` and `resources`.
    #[schema(value_type = Vec<String>)]
    choices: BTreeSet<KeyFormOption>,
}

/// Keys with one type of owner, and what the user can do with them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeysAtHand)]
struct KeyAccess {
    see: bool,
    /// Whether the user can create, change, rotate and resume keys.
    change: bool,
    /// Whether the user can suspend, revoke and delete keys.
    end: bool,
    /// Permissions that the user can grant to a new key.
    permissions: Vec<GrantablePermission>,
    /// Roles of the user that a new key can get. Empty unless `choices` contains `roles`.
    roles: Vec<GrantableRole>,
}

/// A role of the user, with those of its permissions that the user can grant to a key.
#[derive(Debug, Serialize, ToSchema)]
struct GrantableRole {
    name: RoleName,
    description: Option<Description>,
    permissions: PermissionSet,
}

/// A permission that the user can grant to a key.
#[derive(Debug, Serialize, ToSchema)]
struct GrantablePermission {
    name: PermissionName,
    description: Option<Description>,
}

/// Maximum number of permissions that a page offers.
const MAX_OFFERED_PERMISSIONS: i64 = 1000;

/// Returns the user that the caller acts on behalf of and what the user may do; `None` if the
/// caller acts on behalf of no user.
pub async fn current(services: &Services, caller: &Caller) -> Result<Option<CurrentUser>, Error> {
    let Some(owner_scope) = caller.user_scope.clone() else { return Ok(None) };
    let Some(user) = owner_scope.user().cloned() else { return Ok(None) };
    let organization = owner_scope.organization().cloned();
    let (enabled, authority, holdings) =
        (services.settings.api_keys.owner_types.clone(), caller.authority.clone(), caller.holdings.clone());
    let sees_everyone = matches!(authority.visible_keys(), KeyVisibility::Organization { all_keys: true, .. });
    let choices = services.settings.portal.choices.clone();
    let with_roles = choices.contains(&KeyFormOption::Roles);
    let (user_id, organization_id) = (user.clone(), organization.clone());
    let (user_keys, organization_keys) = services
        .store
        .read(move |connection| {
            let entry = owners::find_user(connection, &user_id, organization_id.as_ref())?;
            let user_roles = match entry.filter(|_| with_roles) {
                Some(entry) => store::access::roles::find_by_names(connection, &entry.roles)?,
                None => Vec::new(),
            };
            let access =
                |connection: &mut Conn, owner_scope: &OwnerScope, owner, to| -> Result<KeyAccess, StoreError> {
                    let rights = if enabled.contains(&owner) {
                        authority.rights_on(owner_scope, true)
                    } else {
                        ObjectRights::default()
                    };
                    let page = PageRequest { limit: MAX_OFFERED_PERMISSIONS, cursor: None };
                    let mut permissions =
                        store::access::permissions::list_assignable(connection, Some(to), &page)?.data;
                    permissions.retain(|permission| rights.change && holdings.can_grant(&permission.name));
                    let offered: PermissionSet = permissions.iter().map(|one| one.name.clone()).collect();
                    let reduce = |Role { name, description, permissions, .. }: &Role| GrantableRole {
                        name: name.clone(),
                        description: description.clone(),
                        permissions: permissions.intersection(&offered),
                    };
                    let roles = user_roles.iter().map(reduce).filter(|role| !role.permissions.is_empty()).collect();
                    let grantable = |Permission { name, description, .. }| GrantablePermission { name, description };
                    let permissions = permissions.into_iter().map(grantable).collect();
                    Ok(KeyAccess { see: rights.read, change: rights.change, end: rights.end, permissions, roles })
                };
            let user_keys = access(connection, &owner_scope, OwnerType::User, AssignableOwnerType::User)?;
            let Some(organization) = organization_id else { return Ok((user_keys, None)) };
            let Some(entry) = owners::find_organization(connection, &organization)? else {
                return Ok((user_keys, None));
            };
            let organization_keys =
                access(connection, &entry.owner_scope, OwnerType::Organization, AssignableOwnerType::Organization)?;
            Ok::<_, StoreError>((user_keys, Some(organization_keys)))
        })
        .await?;
    Ok(Some(CurrentUser {
        user_id: user,
        organization_id: organization,
        user: user_keys,
        organization: organization_keys,
        sees_everyone,
        max_lifetime: services.settings.api_keys.max_lifetime.map(Span::as_secs),
        choices,
    }))
}
