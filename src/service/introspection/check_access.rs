//! Access checks: whether a principal may use a permission on a resource now. They are for services
//! that query Keyswap instead of reading tokens.

use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::OwnerScope,
            permission::{AssignableOwnerType, PermissionName},
            resource::Resource,
        },
        common::id::{KeyId, OrganizationId, ServiceClientId, UserId},
        exchange::{
            key_context::KeyContext,
            validation::{self, CredentialRequirements},
        },
    },
    service::{
        Services,
        access::owners,
        credentials::{authenticity::authentic_records, error::AuthError, token::load_key},
        introspection::resolve::resolve_token,
    },
    store::{
        self, Conn, LookupDetail, StoreError,
        access::{access_records::find_of_principals, stored_access_record::StoredAccessRecord},
        credentials::key_context::KeySelector,
    },
};

/// The principal of an access check.
#[derive(Debug)]
pub enum AccessSubject {
    /// A presented key or token, and the audience of the calling service if the service names it.
    Value(Zeroizing<String>, Option<Identifier>),
    Principal(PrincipalReference),
}

/// A principal by its id. Without `organization_id`, a user is checked outside any organization.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AskedPrincipal)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PrincipalReference {
    User {
        id: UserId,
        #[serde(default)]
        organization_id: Option<OrganizationId>,
    },
    ServiceClient {
        id: ServiceClientId,
        #[serde(default)]
        organization_id: Option<OrganizationId>,
    },
    ApiKey {
        id: KeyId,
        #[serde(default)]
        organization_id: Option<OrganizationId>,
    },
}

/// Returns whether the principal has the permission on the resource. A principal that does not
/// exist or is not in force yields `false`; the caller cannot distinguish the two.
pub async fn check(
    services: &Services,
    subject: AccessSubject,
    permission: PermissionName,
    resource: Resource,
) -> Result<bool, AuthError> {
    match subject {
        AccessSubject::Value(value, audience) => {
            check_credential(services, &value, audience, permission, resource).await
        }
        AccessSubject::Principal(PrincipalReference::ApiKey { id, organization_id: organization }) => {
            let found = match load_key(services, KeySelector::Key(id)).await {
                Err(AuthError::Credential(_)) => None,
                found => found?,
            };
            Ok(found.is_some_and(|KeyContext { key, now, .. }| {
                is_within(&key.ownership.owner_scope, organization.as_ref())
                    && key.permits_access(now, &services.settings.limits, &permission, &resource)
            }))
        }
        AccessSubject::Principal(PrincipalReference::User { id: user, organization_id: organization }) => {
            let required = permission.clone();
            let find = move |connection: &mut Conn| {
                let user = owners::find_user(connection, &user, organization.as_ref())?;
                let user = user.filter(|user| !user.blocked && user.permissions.contains(&required));
                let Some(user) = user else { return Ok(Vec::new()) };
                let Some(generation_id) = user.owner_scope.generation_id() else { return Ok(Vec::new()) };
                find_access_records(connection, generation_id.as_str(), &user.owner_scope)
            };
            let records = services.store.read::<_, StoreError>(find).await?;
            covers(services, records, &permission, &resource)
        }
        AccessSubject::Principal(PrincipalReference::ServiceClient { id, organization_id: organization }) => {
            let required = permission.clone();
            let find = move |connection: &mut Conn| {
                let client = store::api_keys::service_clients::find(connection, &id)?;
                let client = client.filter(|client| {
                    is_within(&client.owner_scope, organization.as_ref()) && client.permissions.contains(&required)
                });
                let Some(client) = client else { return Ok(Vec::new()) };
                if !owner_has_permission(connection, &client.owner_scope, &required)? {
                    return Ok(Vec::new());
                }
                find_access_records(connection, id.as_str(), &client.owner_scope)
            };
            let records = services.store.read::<_, StoreError>(find).await?;
            covers(services, records, &permission, &resource)
        }
    }
}

fn is_within(owner_scope: &OwnerScope, organization: Option<&OrganizationId>) -> bool {
    organization.is_none() || organization == owner_scope.organization()
}

/// The key or token must also be valid for the audience and carry the permission. An access record
/// is an additional bound and does not bypass the others.
async fn check_credential(
    services: &Services,
    value: &str,
    audience: Option<Identifier>,
    permission: PermissionName,
    resource: Resource,
) -> Result<bool, AuthError> {
    let limits = &services.settings.limits;
    let audiences = audience.clone().map(|audience| [audience].into());
    let required = CredentialRequirements {
        required_permissions: [permission].into_iter().collect(),
        resource: Some(resource),
        owner_type: None,
        audience,
    };
    let verified = resolve_token(services, value, audiences.as_ref(), LookupDetail::Context, |context, bounds| {
        validation::validate(context, &required, bounds, limits)
    });
    Ok(verified.await?.is_some_and(|verified| verified.decision.missing.is_empty()))
}

/// Returns the access records of the principal in the tenant scope of `owner_scope`.
fn find_access_records(
    connection: &mut Conn,
    principal: &str,
    owner_scope: &OwnerScope,
) -> Result<Vec<StoredAccessRecord>, StoreError> {
    let Some(id) = owner_scope.organization() else { return find_of_principals(connection, &[principal], None) };
    let Some(found) = store::directory::organizations::find(connection, id)? else { return Ok(Vec::new()) };
    find_of_principals(connection, &[principal], Some((&found.id, &found.generation_id)))
}

/// Returns whether one of the records covers the permission on the resource.
fn covers(
    services: &Services,
    records: Vec<StoredAccessRecord>,
    permission: &PermissionName,
    resource: &Resource,
) -> Result<bool, AuthError> {
    let mut statements =
        authentic_records(services, records)?.into_iter().flat_map(StoredAccessRecord::into_statements);
    Ok(statements.any(|statement| statement.covers(permission, resource)))
}

/// Returns whether the owner of a service client still exists and has the permission.
fn owner_has_permission(
    connection: &mut Conn,
    owner_scope: &OwnerScope,
    permission: &PermissionName,
) -> Result<bool, StoreError> {
    match owner_scope {
        OwnerScope::Account => Ok(true),
        OwnerScope::Organization { .. } => {
            let known = store::access::permissions::find(connection, permission)?;
            Ok(owners::owner_exists(connection, owner_scope)?
                && known.is_some_and(|known| known.assignable_to.contains(&AssignableOwnerType::Organization)))
        }
        OwnerScope::User { id, organization, .. } => {
            let user = owners::find_user(connection, id, organization.as_ref())?;
            Ok(user.is_some_and(|user| {
                user.owner_scope == *owner_scope && !user.blocked && user.permissions.contains(permission)
            }))
        }
    }
}
