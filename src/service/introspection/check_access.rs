//! Access checks: whether a principal may use a permission on a resource now. They are for services
//! that query Keyswap instead of reading tokens.

use zeroize::Zeroizing;

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::Home,
            permission::{AssignableTo, PermissionName},
            resource::Resource,
        },
        common::id::{Incarnation, KeyId, OrganizationId, ServiceClientId, UserId},
        exchange::{
            grant,
            validation::{Question, missing},
        },
    },
    service::{
        App,
        access::owners,
        credentials::{error::Denied, verify::FACTS},
        introspection::resolve::judge_shown,
    },
    store::{
        self, Conn, StoreError,
        credentials::key_context::{self, Wanted},
    },
};

/// The principal of an access check.
#[derive(Debug)]
pub enum Asked {
    /// A presented key or token, and the audience of the calling service if the service names it.
    Value(Zeroizing<String>, Option<Identifier>),
    User(UserId, Option<OrganizationId>),
    ServiceClient(ServiceClientId, Option<OrganizationId>),
    ApiKey(KeyId, Option<OrganizationId>),
}

/// Returns whether the principal has the permission on the resource. A principal that does not
/// exist or is not in force yields `false`; the caller cannot distinguish the two.
pub async fn check(app: &App, asked: Asked, permission: PermissionName, resource: Resource) -> Result<bool, Denied> {
    match asked {
        Asked::Value(value, audience) => by_value(app, &value, audience, permission, &resource).await,
        Asked::ApiKey(id, organization) => {
            let wanted = Wanted::Key(id);
            let found = app.store.read(move |connection| key_context::load(connection, &wanted, &[].into())).await?;
            Ok(found.is_some_and(|found| {
                let key = &found.facts.key;
                let is_there = organization.is_none() || organization.as_ref() == key.ownership.home.organization();
                is_there && grant::may(key, found.facts.now, &app.settings.limits, &permission, &resource)
            }))
        }
        Asked::User(user, organization) => {
            let may = move |connection: &mut Conn| {
                let place = owners::of_user(connection, &user, organization.as_ref())?;
                let Some(place) = place.filter(|place| !place.blocked) else { return Ok(false) };
                let Some(incarnation) = place.home.incarnation() else { return Ok(false) };
                Ok(place.permissions.contains(&permission)
                    && is_covered(connection, incarnation.as_str(), &place.home, &permission, &resource)?)
            };
            Ok(app.store.read::<_, StoreError>(may).await?)
        }
        Asked::ServiceClient(id, organization) => {
            let may = move |connection: &mut Conn| {
                let Some(client) = store::api_keys::service_clients::find(connection, &id)? else { return Ok(false) };
                let is_there = organization.is_none() || organization.as_ref() == client.home.organization();
                Ok(is_there
                    && client.permissions.contains(&permission)
                    && is_of_home(connection, &client.home, &permission)?
                    && is_covered(connection, id.as_str(), &client.home, &permission, &resource)?)
            };
            Ok(app.store.read::<_, StoreError>(may).await?)
        }
    }
}

/// The key or token must also be valid for the audience and carry the permission. An access record
/// is an additional bound and does not bypass the others.
async fn by_value(
    app: &App,
    value: &str,
    audience: Option<Identifier>,
    permission: PermissionName,
    resource: &Resource,
) -> Result<bool, Denied> {
    let limits = &app.settings.limits;
    let question =
        Question { required: [permission.clone()].into_iter().collect(), owner_type: None, audience: audience.clone() };
    let asks = audience.map(|audience| [audience].into());
    let judged = judge_shown(app, value, asks.as_ref(), FACTS, |facts, bounds| {
        let missing = missing(facts, &question, bounds, limits)?;
        Ok(missing.is_empty() && grant::may(&facts.key, facts.now, limits, &permission, resource))
    });
    Ok(judged.await?.is_some_and(|judged| judged.ruling))
}

/// Returns whether an access record of the principal covers the permission on the resource.
fn is_covered(
    connection: &mut Conn,
    mark: &str,
    home: &Home,
    permission: &PermissionName,
    resource: &Resource,
) -> Result<bool, StoreError> {
    let organization = match home.organization() {
        None => None,
        Some(id) => match organization(connection, id)? {
            None => return Ok(false),
            found => found,
        },
    };
    let organization = organization.as_ref().map(|(id, incarnation)| (id, incarnation));
    let rules = store::access::effective_statements::rules_of(connection, mark, organization)?;
    Ok(rules.iter().any(|rule| rule.covers(permission, resource)))
}

fn organization(
    connection: &mut Conn,
    id: &OrganizationId,
) -> Result<Option<(OrganizationId, Incarnation)>, StoreError> {
    Ok(store::directory::organizations::find(connection, id)?.map(|found| (found.id, found.incarnation)))
}

/// Returns whether the owner of a service client still exists and has the permission.
fn is_of_home(connection: &mut Conn, home: &Home, permission: &PermissionName) -> Result<bool, StoreError> {
    match home {
        Home::Account => Ok(true),
        Home::Organization { id, incarnation } => {
            let stands = organization(connection, id)?.is_some_and(|(_, now)| now == *incarnation);
            let known = store::access::permissions::find(connection, permission)?;
            Ok(stands && known.is_some_and(|known| known.assignable_to.contains(&AssignableTo::Organization)))
        }
        Home::User { id, organization, .. } => {
            let place = owners::of_user(connection, id, organization.as_ref())?;
            Ok(place
                .is_some_and(|place| place.home == *home && !place.blocked && place.permissions.contains(permission)))
        }
    }
}
