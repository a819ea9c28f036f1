//! What many keys share, and exchanges therefore remember: the permissions and limits of the key,
//! the permissions of its owner, and the requested audience.

use crate::{
    domain::{
        access::{
            audience::Identifier,
            owner::Owner,
            owner_status::ServiceClientSnapshot,
            permission::{PermissionName, PermissionSet},
        },
        common::{id::KeyId, time::Span},
        credentials::authority::Entitlement,
        events::Digest,
    },
    store::{
        access::audiences::AuthenticatedAudience,
        column_types::Json,
        credentials::narrow_lookup::NarrowCredential,
        prelude::*,
        schema::{api_keys, audiences, event_chain_head, permissions, role_permissions, service_clients},
    },
};

/// Facts that are the same for each key with the same entitlement, service client and roles.
#[derive(Debug)]
pub struct StoredSharedFacts {
    pub permissions: PermissionSet,
    pub audiences: Option<Vec<Identifier>>,
    pub max_token_ttl: Option<Span>,
    pub client: Option<ServiceClientSnapshot>,
    pub owner_permissions: PermissionSet,
    /// The requested audience, if it exists.
    pub audience: Option<AuthenticatedAudience>,
}

/// Reads the facts that `credential` shares with others. Returns `None` if something changed since
/// `credential` was read: then these are not the facts of its version.
pub fn load(
    connection: &mut Conn,
    credential: &NarrowCredential,
    audience: &Identifier,
    digest: Digest,
) -> Result<Option<StoredSharedFacts>, StoreError> {
    let Some((permissions, audiences, max_token_ttl)) = entitlement(connection, &credential.key)? else {
        return Ok(None);
    };
    let entitlement = Entitlement { permissions: &permissions, audiences: audiences.as_deref(), max_token_ttl };
    if entitlement.number(digest) != credential.entitlement {
        return Ok(None);
    }
    let client = match &credential.owner {
        Owner::ServiceClient(id) => client(connection, id.as_str())?,
        Owner::User(_) | Owner::Organization(_) | Owner::Unowned => None,
    };
    let owner_permissions = owner_permissions(connection, credential, &permissions)?;
    let audience = audiences::table
        .filter(audiences::identifier.eq(audience))
        .select(AuthenticatedAudience::as_select())
        .load_first(connection)?;
    // A change of these facts commits together with a new event, so all of them are from before it
    // if the event is still the same.
    let event: String =
        event_chain_head::table.find(1).select(event_chain_head::authority_event).load_one(connection)?;
    let facts = StoredSharedFacts { permissions, audiences, max_token_ttl, client, owner_permissions, audience };
    Ok((event == credential.authority_event).then_some(facts))
}

type EntitlementColumns = (PermissionSet, Option<Vec<Identifier>>, Option<Span>);

fn entitlement(connection: &mut Conn, key: &KeyId) -> Result<Option<EntitlementColumns>, StoreError> {
    type Row = (PermissionSet, Option<Json<Vec<Identifier>>>, Option<Span>);
    let row: Option<Row> = api_keys::table
        .find(key)
        .select((api_keys::permissions, api_keys::audiences, api_keys::max_token_ttl))
        .load_first(connection)?;
    Ok(row.map(|(permissions, audiences, ttl)| (permissions, audiences.map(|Json(all)| all), ttl)))
}

fn client(connection: &mut Conn, id: &str) -> Result<Option<ServiceClientSnapshot>, StoreError> {
    let row: Option<(PermissionSet, Option<i64>)> = service_clients::table
        .find(id)
        .select((service_clients::permissions, service_clients::deleted_at))
        .load_first(connection)?;
    Ok(row.map(|(permissions, deleted_at)| ServiceClientSnapshot { permissions, deleted: deleted_at.is_some() }))
}

/// The permissions of the root owner, as in the view `key_owner_status`.
fn owner_permissions(
    connection: &mut Conn,
    credential: &NarrowCredential,
    of_key: &PermissionSet,
) -> Result<PermissionSet, StoreError> {
    let scope = &credential.owner_scope;
    let names: Vec<PermissionName> = if scope.user().is_some() {
        let roles: Vec<_> = credential.roles.as_deref().unwrap_or_default().split_whitespace().collect();
        role_permissions::table
            .filter(role_permissions::role.eq_any(roles))
            .select(role_permissions::permission)
            .distinct()
            .load_all(connection)?
    } else if scope.organization().is_some() {
        let names: Vec<_> = of_key.iter().map(PermissionName::as_str).collect();
        let assignable: Vec<(PermissionName, String)> = permissions::table
            .filter(permissions::name.eq_any(names))
            .select((permissions::name, permissions::assignable_to))
            .load_all(connection)?;
        let is_for_organizations = |types: &str| types.split(' ').any(|one| one == "organization");
        assignable.into_iter().filter(|(_, types)| is_for_organizations(types)).map(|(name, _)| name).collect()
    } else {
        Vec::new()
    };
    Ok(names.into_iter().collect())
}
