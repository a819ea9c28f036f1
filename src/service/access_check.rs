//! Whether someone may do a thing to a resource now, for services that would rather ask than read tokens.

use zeroize::Zeroizing;

use crate::{
    domain::{
        grant,
        id::{Incarnation, KeyId, OrganizationId, ServiceClientId, UserId},
        permission::{AssignableTo, PermissionName, PermissionSet},
        resource::Resource,
        standing::Home,
    },
    store::{
        self, Conn, StoreError,
        facts::{self, Wanted},
    },
};

use super::{
    App,
    caller::is_token,
    places,
    proof::{Denied, shown_to_service},
};

/// Who is asked about.
#[derive(Debug)]
pub enum Asked {
    /// What the service was shown: a key, or a token.
    Value(Zeroizing<String>),
    User(UserId, Option<OrganizationId>),
    ServiceClient(ServiceClientId, Option<OrganizationId>),
    ApiKey(KeyId, Option<OrganizationId>),
}

/// Whether they may; whoever does not exist or is not in force may not, and looks the same.
///
/// # Errors
/// The database is away.
pub async fn check(app: &App, asked: Asked, permission: PermissionName, resource: Resource) -> Result<bool, Denied> {
    match asked {
        Asked::Value(value) => by_value(app, &value, &permission, &resource).await,
        Asked::ApiKey(id, organization) => {
            let wanted = Wanted::Key(id);
            let found = app.store.read(move |connection| facts::load(connection, &wanted, &[].into())).await?;
            Ok(found.is_some_and(|found| {
                let key = &found.facts.key;
                let is_there = organization.is_none() || organization.as_ref() == key.ownership.home.organization();
                is_there && grant::may(key, found.facts.now, &app.settings.limits, &permission, &resource)
            }))
        }
        Asked::User(user, organization) => {
            let may = move |connection: &mut Conn| {
                let place = places::of_user(connection, &user, organization.as_ref())?;
                let Some(place) = place.filter(|place| !place.blocked) else { return Ok(false) };
                let Some(incarnation) = place.home.incarnation() else { return Ok(false) };
                Ok(place.permissions.contains(&permission)
                    && is_covered(connection, incarnation.as_str(), &place.home, &permission, &resource)?)
            };
            Ok(app.store.read::<_, StoreError>(may).await?)
        }
        Asked::ServiceClient(id, organization) => {
            let may = move |connection: &mut Conn| {
                let Some(client) = store::service_clients::find(connection, &id)? else { return Ok(false) };
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

async fn by_value(app: &App, value: &str, permission: &PermissionName, resource: &Resource) -> Result<bool, Denied> {
    let value = value.trim_matches(' ');
    let value = match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_matches(' '),
        Some(_) | None => value,
    };
    let facts =
        if is_token(value) { by_token(app, value, permission).await? } else { shown_to_service(app, value).await? };
    Ok(facts.is_some_and(|facts| grant::may(&facts.key, facts.now, &app.settings.limits, permission, resource)))
}

/// The facts about the key of a token that carries the permission and has not ended.
async fn by_token(app: &App, token: &str, permission: &PermissionName) -> Result<Option<grant::Facts>, Denied> {
    let Some((_, claims)) = app.keys.view().verify_any(token, app.issuer()) else { return Ok(None) };
    if claims.aud.contains(app.settings.management_audience.as_str()) {
        return Ok(None);
    }
    let scope = match (claims.scope, claims.scp) {
        (Some(scope), _) => scope,
        (None, Some(scp)) => scp.join(" "),
        (None, None) => return Ok(None),
    };
    let carried = PermissionSet::from_stored(&scope).is_ok_and(|scope| scope.contains(permission));
    if !carried {
        return Ok(None);
    }
    let wanted = Wanted::Key(claims.key_id);
    let loaded = app.store.read(move |connection| facts::load(connection, &wanted, &[].into())).await?;
    Ok(loaded.map(|loaded| loaded.facts).filter(|facts| claims.exp > facts.now.seconds()))
}

/// Whether some record of a principal covers it.
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
    let rules = store::access_records::rules_of(connection, mark, organization)?;
    Ok(rules.iter().any(|rule| rule.covers(permission, resource)))
}

fn organization(
    connection: &mut Conn,
    id: &OrganizationId,
) -> Result<Option<(OrganizationId, Incarnation)>, StoreError> {
    Ok(store::organizations::find(connection, id)?.map(|found| (found.id, found.incarnation)))
}

/// Whether who stands behind a service client still does, and has the permission.
fn is_of_home(connection: &mut Conn, home: &Home, permission: &PermissionName) -> Result<bool, StoreError> {
    match home {
        Home::Account => Ok(true),
        Home::Organization { id, incarnation } => {
            let stands = organization(connection, id)?.is_some_and(|(_, now)| now == *incarnation);
            let known = store::permissions::find(connection, permission)?;
            Ok(stands && known.is_some_and(|known| known.assignable_to.contains(&AssignableTo::Organization)))
        }
        Home::User { id, organization, .. } => {
            let place = places::of_user(connection, id, organization.as_ref())?;
            Ok(place
                .is_some_and(|place| place.home == *home && !place.blocked && place.permissions.contains(permission)))
        }
    }
}
