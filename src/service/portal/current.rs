//! The data that a user's own key page needs before it renders.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{
            owner::{OwnerScope, OwnerType},
            permission::{AssignableOwnerType, Permission, PermissionSet},
            policy::{KeyVisibility, ObjectRights},
            role::Role,
        },
        common::{
            id::{OrganizationId, UserId},
            page::PageRequest,
            time::Span,
        },
        portal::session::KeyFormOption,
    },
    service::{Error, Services, access::owners, caller::Caller},
    store::{self, Conn, StoreError},
};

/// The user behind a portal session, and what the user may do on the key page.
#[derive(Debug)]
pub struct CurrentUser {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
    pub of_user: Kind,
    pub of_organization: Option<Kind>,
    /// The user sees the keys of all members, and may end them.
    pub sees_everyone: bool,
    pub max_lifetime: Option<Span>,
    /// What the user chooses for a new key.
    pub choices: BTreeSet<KeyFormOption>,
}

/// What the user may do with the keys of one owner type, and what a new key of that type can be
/// given.
#[derive(Debug, Default)]
pub struct Kind {
    pub rights: ObjectRights,
    pub permissions: Vec<Permission>,
    /// The user's roles, each reduced to the permissions that a new key can be given.
    pub roles: Vec<Role>,
}

/// Maximum number of permissions that a page offers.
const MAX_OFFERED_PERMISSIONS: i64 = 1000;

/// Returns the user that the caller acts on behalf of and what the user may do; `None` if the
/// caller acts on behalf of no user.
pub async fn current(services: &Services, caller: &Caller) -> Result<Option<CurrentUser>, Error> {
    let Some(home) = caller.on_behalf_of.clone() else { return Ok(None) };
    let Some(user) = home.user().cloned() else { return Ok(None) };
    let organization = home.organization().cloned();
    let (enabled, authority, holdings) =
        (services.settings.api_keys.owner_types.clone(), caller.authority.clone(), caller.holdings.clone());
    let of = organization.clone();
    let sees_everyone = matches!(authority.visible_keys(), KeyVisibility::Organization { all_keys: true, .. });
    let choices = services.settings.portal.choices.clone();
    let (with_roles, who) = (choices.contains(&KeyFormOption::Roles), user.clone());
    let (of_user, of_organization) = services
        .store
        .read(move |connection| {
            let held = match owners::find_user(connection, &who, of.as_ref())?.filter(|_| with_roles) {
                Some(place) => store::access::roles::find_by_names(connection, &place.roles)?,
                None => Vec::new(),
            };
            let kind = |connection: &mut Conn, home: &OwnerScope, owner, to| -> Result<Kind, StoreError> {
                let rights =
                    if enabled.contains(&owner) { authority.rights_on(home, true) } else { ObjectRights::default() };
                let page = PageRequest { limit: MAX_OFFERED_PERMISSIONS, cursor: None };
                let mut permissions = store::access::permissions::list_assignable(connection, Some(to), &page)?.data;
                permissions.retain(|permission| rights.change && holdings.can_grant(&permission.name));
                let offered: PermissionSet = permissions.iter().map(|one| one.name.clone()).collect();
                let cut = |role: &Role| Role { permissions: role.permissions.intersection(&offered), ..role.clone() };
                let roles = held.iter().map(cut).filter(|role| !role.permissions.is_empty()).collect();
                Ok(Kind { rights, permissions, roles })
            };
            let of_user = kind(connection, &home, OwnerType::User, AssignableOwnerType::User)?;
            let Some(organization) = of else { return Ok((of_user, None)) };
            let Some(place) = owners::find_organization(connection, &organization)? else { return Ok((of_user, None)) };
            let of_organization =
                kind(connection, &place.home, OwnerType::Organization, AssignableOwnerType::Organization)?;
            Ok::<_, StoreError>((of_user, Some(of_organization)))
        })
        .await?;
    let max_lifetime = services.settings.api_keys.max_lifetime;
    Ok(Some(CurrentUser { user, organization, of_user, of_organization, sees_everyone, max_lifetime, choices }))
}
