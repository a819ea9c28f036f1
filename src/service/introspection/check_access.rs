//! Access checks: whether a principal may use a permission on a resource now. They are for services
//! that query Keyswap instead of reading tokens.

use zeroize::Zeroizing;

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::OwnerScope,
            permission::{AssignableOwnerType, PermissionName},
            resource::Resource,
        },
        common::id::{GenerationId, KeyId, OrganizationId, ServiceClientId, UserId},
        exchange::{
            grant,
            validation::{PendingLookup, find_missing_permissions},
        },
    },
    service::{
        Services,
        access::owners,
        credentials::{error::AuthError, verify::FACTS},
        introspection::resolve::verify_presented_credential,
    },
    store::{
        self, Conn, StoreError,
        credentials::key_context::{self, KeySelector},
    },
};

/// The principal of an access check.
#[derive(Debug)]
pub enum AccessSubject {
    /// A presented key or token, and the audience of the calling service if the service names it.
    Value(Zeroizing<String>, Option<Identifier>),
    User(UserId, Option<OrganizationId>),
    ServiceClient(ServiceClientId, Option<OrganizationId>),
    ApiKey(KeyId, Option<OrganizationId>),
}

/// Returns whether the principal has the permission on the resource. A principal that does not
/// exist or is not in force yields `false`; the caller cannot distinguish the two.
pub async fn check(
    services: &Services,
    asked: AccessSubject,
    permission: PermissionName,
    resource: Resource,
) -> Result<bool, AuthError> {
    match asked {
        AccessSubject::Value(value, audience) => {
            check_credential(services, &value, audience, permission, &resource).await
        }
        AccessSubject::ApiKey(id, organization) => {
            let wanted = KeySelector::Key(id);
            let found =
                services.store.read(move |connection| key_context::load(connection, &wanted, &[].into())).await?;
            Ok(found.is_some_and(|found| {
                let key = &found.facts.key;
                let is_there = organization.is_none() || organization.as_ref() == key.ownership.home.organization();
                is_there
                    && grant::permits_access(key, found.facts.now, &services.settings.limits, &permission, &resource)
            }))
        }
        AccessSubject::User(user, organization) => {
            let may = move |connection: &mut Conn| {
                let place = owners::of_user(connection, &user, organization.as_ref())?;
                let Some(place) = place.filter(|place| !place.blocked) else { return Ok(false) };
                let Some(incarnation) = place.home.generation_id() else { return Ok(false) };
                Ok(place.permissions.contains(&permission)
                    && is_covered_by_access_records(
                        connection,
                        incarnation.as_str(),
                        &place.home,
                        &permission,
                        &resource,
                    )?)
            };
            Ok(services.store.read::<_, StoreError>(may).await?)
        }
        AccessSubject::ServiceClient(id, organization) => {
            let may = move |connection: &mut Conn| {
                let Some(client) = store::api_keys::service_clients::find(connection, &id)? else { return Ok(false) };
                let is_there = organization.is_none() || organization.as_ref() == client.home.organization();
                Ok(is_there
                    && client.permissions.contains(&permission)
                    && owner_has_permission(connection, &client.home, &permission)?
                    && is_covered_by_access_records(connection, id.as_str(), &client.home, &permission, &resource)?)
            };
            Ok(services.store.read::<_, StoreError>(may).await?)
        }
    }
}

/// The key or token must also be valid for the audience and carry the permission. An access record
/// is an additional bound and does not bypass the others.
async fn check_credential(
    services: &Services,
    value: &str,
    audience: Option<Identifier>,
    permission: PermissionName,
    resource: &Resource,
) -> Result<bool, AuthError> {
    let limits = &services.settings.limits;
    let question = PendingLookup {
        required_permissions: [permission.clone()].into_iter().collect(),
        owner_type: None,
        audience: audience.clone(),
    };
    let asks = audience.map(|audience| [audience].into());
    let judged = verify_presented_credential(services, value, asks.as_ref(), FACTS, |facts, bounds| {
        let missing = find_missing_permissions(facts, &question, bounds, limits)?;
        Ok(missing.is_empty() && grant::permits_access(&facts.key, facts.now, limits, &permission, resource))
    });
    Ok(judged.await?.is_some_and(|judged| judged.decision))
}

/// Returns whether an access record of the principal covers the permission on the resource.
fn is_covered_by_access_records(
    connection: &mut Conn,
    mark: &str,
    home: &OwnerScope,
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
    let rules = store::access::effective_statements::find_rules_of_principal(connection, mark, organization)?;
    Ok(rules.iter().any(|rule| rule.covers(permission, resource)))
}

fn organization(
    connection: &mut Conn,
    id: &OrganizationId,
) -> Result<Option<(OrganizationId, GenerationId)>, StoreError> {
    Ok(store::directory::organizations::find(connection, id)?.map(|found| (found.id, found.generation_id)))
}

/// Returns whether the owner of a service client still exists and has the permission.
fn owner_has_permission(
    connection: &mut Conn,
    home: &OwnerScope,
    permission: &PermissionName,
) -> Result<bool, StoreError> {
    match home {
        OwnerScope::Account => Ok(true),
        OwnerScope::Organization { id, generation_id } => {
            let stands = organization(connection, id)?.is_some_and(|(_, now)| now == *generation_id);
            let known = store::access::permissions::find(connection, permission)?;
            Ok(stands && known.is_some_and(|known| known.assignable_to.contains(&AssignableOwnerType::Organization)))
        }
        OwnerScope::User { id, organization, .. } => {
            let place = owners::of_user(connection, id, organization.as_ref())?;
            Ok(place
                .is_some_and(|place| place.home == *home && !place.blocked && place.permissions.contains(permission)))
        }
    }
}
