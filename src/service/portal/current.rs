//! The data that a user's own key page needs before it renders.

use std::collections::BTreeSet;

use crate::{
    domain::{
        access::{
            owner::{Home, OwnerType},
            permission::{AssignableTo, Permission, PermissionSet},
            policy::{Reach, Rights},
            role::Role,
        },
        common::{
            id::{OrganizationId, UserId},
            page::PageRequest,
            time::Span,
        },
        portal::session::Choice,
    },
    service::{App, Error, access::owners, caller::Caller},
    store::{self, Conn, StoreError},
};

/// The user behind a portal session, and what the user may do on the key page.
#[derive(Debug)]
pub struct Current {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
    pub of_user: Kind,
    pub of_organization: Option<Kind>,
    /// The user sees the keys of all members, and may end them.
    pub sees_everyone: bool,
    pub max_lifetime: Option<Span>,
    /// What the user chooses for a new key.
    pub choices: BTreeSet<Choice>,
}

/// What the user may do with the keys of one owner type, and what a new key of that type can be
/// given.
#[derive(Debug, Default)]
pub struct Kind {
    pub rights: Rights,
    pub permissions: Vec<Permission>,
    /// The user's roles, each reduced to the permissions that a new key can be given.
    pub roles: Vec<Role>,
}

/// Maximum number of permissions that a page offers.
const OFFERED: i64 = 1000;

/// Returns the user that the caller acts on behalf of and what the user may do; `None` if the
/// caller acts on behalf of no user.
pub async fn current(app: &App, caller: &Caller) -> Result<Option<Current>, Error> {
    let Some(home) = caller.acts_as.clone() else { return Ok(None) };
    let Some(user) = home.user().cloned() else { return Ok(None) };
    let organization = home.organization().cloned();
    let (enabled, authority, holdings) =
        (app.settings.owner_types.clone(), caller.authority.clone(), caller.holdings.clone());
    let of = organization.clone();
    let sees_everyone = matches!(authority.reach(), Reach::Organization { whole: true, .. });
    let choices = app.settings.choices.clone();
    let (with_roles, who) = (choices.contains(&Choice::Roles), user.clone());
    let (of_user, of_organization) = app
        .store
        .read(move |connection| {
            let held = match owners::of_user(connection, &who, of.as_ref())?.filter(|_| with_roles) {
                Some(place) => store::access::roles::with_names(connection, &place.roles)?,
                None => Vec::new(),
            };
            let kind = |connection: &mut Conn, home: &Home, owner, to| -> Result<Kind, StoreError> {
                let rights = if enabled.contains(&owner) { authority.over(home) } else { Rights::default() };
                let page = PageRequest { limit: OFFERED, after: None };
                let mut permissions = store::access::permissions::list_assignable(connection, Some(to), &page)?.data;
                permissions.retain(|permission| rights.change && holdings.hold(&permission.name));
                let offered: PermissionSet = permissions.iter().map(|one| one.name.clone()).collect();
                let cut = |role: &Role| Role { permissions: role.permissions.intersection(&offered), ..role.clone() };
                let roles = held.iter().map(cut).filter(|role| !role.permissions.is_empty()).collect();
                Ok(Kind { rights, permissions, roles })
            };
            let of_user = kind(connection, &home, OwnerType::User, AssignableTo::User)?;
            let Some(organization) = of else { return Ok((of_user, None)) };
            let Some(place) = owners::of_organization(connection, &organization)? else { return Ok((of_user, None)) };
            let of_organization = kind(connection, &place.home, OwnerType::Organization, AssignableTo::Organization)?;
            Ok::<_, StoreError>((of_user, Some(of_organization)))
        })
        .await?;
    let max_lifetime = app.settings.max_key_lifetime;
    Ok(Some(Current { user, organization, of_user, of_organization, sees_everyone, max_lifetime, choices }))
}
