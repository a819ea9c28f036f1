//! Service clients.

use crate::{
    domain::{
        access::{key_visibility::KeyVisibility, owner::OwnerScope, permission::PermissionName},
        common::{
            id::{GenerationId, ServiceClientId},
            name::DisplayName,
            page::{Page, PageRequest},
        },
        directory::service_client::ServiceClient,
    },
    store::{prelude::*, schema::service_clients},
};

selectable!(service_clients => ServiceClient {
    id, name, owner_scope = (user_id, organization_id, generation_id), permissions, metadata, created_at, created_by,
    version,
});

pub fn insert(tx: &mut Tx<'_>, client: &ServiceClient) -> Result<(), StoreError> {
    let owner_scope = &client.owner_scope;
    let owner_type = match owner_scope {
        OwnerScope::Account => "account",
        OwnerScope::Organization { .. } => "organization",
        OwnerScope::User { .. } => "user",
    };
    diesel::insert_into(service_clients::table)
        .values(values!(service_clients, client =>
            id, name, owner_type = owner_type, user_id = owner_scope.user(), organization_id = owner_scope.organization(),
            generation_id = owner_scope.generation_id(), permissions, metadata, created_at, created_by, version,
        ))
        .execute_in(tx)
}

pub fn update(tx: &mut Tx<'_>, client: &ServiceClient) -> Result<(), StoreError> {
    diesel::update(service_clients::table.find(&client.id))
        .set(values!(service_clients, client =>
            name, permissions, metadata, version = service_clients::version + 1,
        ))
        .execute_in(tx)
}

/// Marks a service client as deleted. Its keys stop working at once, because their owner is
/// deleted.
pub fn delete(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<(), StoreError> {
    let now = tx.now();
    diesel::update(service_clients::table.find(id)).set(service_clients::deleted_at.eq(Some(now))).execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &ServiceClientId) -> Result<Option<ServiceClient>, StoreError> {
    service_clients::table
        .find(id)
        .filter(service_clients::deleted_at.is_null())
        .select(ServiceClient::as_select())
        .load_first(connection)
}

/// Like `find`, but locks the service client until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<Option<ServiceClient>, StoreError> {
    lock_row!(tx, service_clients, id);
    find(tx, id)
}

/// Returns the service clients within `reach`, newest first.
pub fn list(
    connection: &mut Conn,
    reach: &KeyVisibility,
    page: &PageRequest,
) -> Result<Page<ServiceClient>, StoreError> {
    use service_clients::{organization_id, user_id};

    let mut query = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .select(ServiceClient::as_select())
        .into_boxed();
    query = match reach {
        KeyVisibility::All => query,
        KeyVisibility::None => return Ok(Page { data: Vec::new(), next: None }),
        KeyVisibility::User(user) => query.filter(user_id.eq(user)).filter(organization_id.is_null()),
        KeyVisibility::Organization { id, all_keys, organization_keys, user_keys } => {
            let within = query.filter(organization_id.eq(id));
            match (all_keys, organization_keys, user_keys) {
                (true, ..) => within,
                (false, true, None) => within.filter(user_id.is_null()),
                (false, true, Some(user)) => within.filter(user_id.is_null().or(user_id.eq(user))),
                (false, false, Some(user)) => within.filter(user_id.eq(user)),
                (false, false, None) => return Ok(Page { data: Vec::new(), next: None }),
            }
        }
    };
    load_page!(connection, query, page, service_clients::id, lt, desc, |client: &ServiceClient| client.id.to_string())
}

/// Returns the ids of the service clients of the account, oldest first. `names` restricts them to
/// these names.
pub fn list_ids_of_account(
    connection: &mut Conn,
    names: Option<&[DisplayName]>,
) -> Result<Vec<ServiceClientId>, StoreError> {
    let mut query = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .filter(service_clients::owner_type.eq("account"))
        .select(service_clients::id)
        .into_boxed();
    if let Some(names) = names {
        query = query.filter(service_clients::name.eq_any(names));
    }
    query.order(service_clients::id.asc()).load_all(connection)
}

/// Returns how many service clients a user has under one generation id of the user or membership.
pub fn count(connection: &mut Conn, of: &GenerationId) -> Result<i64, StoreError> {
    let found = service_clients::table
        .filter(service_clients::generation_id.eq(of))
        .filter(service_clients::user_id.is_not_null())
        .filter(service_clients::deleted_at.is_null());
    found.count().load_one(connection)
}

/// Returns the ids of at most 10 service clients that have a permission.
pub fn find_ids_with_permission(connection: &mut Conn, permission: &PermissionName) -> Result<Vec<String>, StoreError> {
    let found = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .filter(crate::store::access::permissions::permissions_contain(permission))
        .select(service_clients::id)
        .limit(10)
        .load_all(connection)?;
    Ok(found)
}
