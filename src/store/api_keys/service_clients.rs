//! Service clients.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper,
};

use crate::{
    domain::{
        access::{owner::OwnerScope, permission::PermissionName, policy::KeyVisibility},
        common::{
            id::{GenerationId, ServiceClientId},
            name::DisplayName,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        directory::service_client::ServiceClient,
        events::ActorRef,
    },
    store::{
        api_keys::owner_status::home_of,
        columns::{parsed, parsed_metadata, permission_set},
        error::StoreError,
        pool::Conn,
        schema::service_clients,
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = service_clients)]
struct Row {
    id: String,
    name: String,
    permissions: String,
    metadata: String,
    created_at: i64,
    created_by: String,
    version: i64,
    user_id: Option<String>,
    organization_id: Option<String>,
    generation_id: Option<String>,
}

pub fn insert(tx: &mut Tx<'_>, client: &ServiceClient) -> Result<(), StoreError> {
    let home = &client.home;
    let owner_type = match home {
        OwnerScope::Account => "account",
        OwnerScope::Organization { .. } => "organization",
        OwnerScope::User { .. } => "user",
    };
    diesel::insert_into(service_clients::table)
        .values((
            service_clients::id.eq(client.id.as_str()),
            service_clients::name.eq(client.name.as_str()),
            service_clients::owner_type.eq(owner_type),
            service_clients::user_id.eq(home.user().map(|id| id.as_str())),
            service_clients::organization_id.eq(home.organization().map(|id| id.as_str())),
            service_clients::generation_id.eq(home.generation_id().map(|id| id.as_str())),
            service_clients::permissions.eq(client.permissions.to_string()),
            service_clients::metadata.eq(client.metadata.to_json()),
            service_clients::created_at.eq(client.created_at.millis()),
            service_clients::created_by.eq(client.created_by.to_stored()),
            service_clients::version.eq(client.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, client: &ServiceClient) -> Result<(), StoreError> {
    diesel::update(service_clients::table.find(client.id.as_str()))
        .set((
            service_clients::name.eq(client.name.as_str()),
            service_clients::permissions.eq(client.permissions.to_string()),
            service_clients::metadata.eq(client.metadata.to_json()),
            service_clients::version.eq(service_clients::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Marks a service client as deleted. Its keys stop working at once, because their owner is
/// deleted.
pub fn delete(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::update(service_clients::table.find(id.as_str()))
        .set(service_clients::deleted_at.eq(Some(now)))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &ServiceClientId) -> Result<Option<ServiceClient>, StoreError> {
    let row: Option<Row> = service_clients::table
        .find(id.as_str())
        .filter(service_clients::deleted_at.is_null())
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.map(client).transpose()
}

/// Like `find`, but locks the service client until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &ServiceClientId) -> Result<Option<ServiceClient>, StoreError> {
    diesel::update(service_clients::table.find(id.as_str()))
        .set(service_clients::version.eq(service_clients::version))
        .execute(&mut **tx)?;
    find(tx, id)
}

/// Returns the service clients within `reach`, newest first.
pub fn list(
    connection: &mut Conn,
    reach: &KeyVisibility,
    page: &PageRequest,
) -> Result<Page<ServiceClient>, StoreError> {
    use service_clients::{organization_id, user_id};

    let mut query =
        service_clients::table.filter(service_clients::deleted_at.is_null()).select(Row::as_select()).into_boxed();
    query = match reach {
        KeyVisibility::All => query,
        KeyVisibility::None => return Ok(Page { data: Vec::new(), next: None }),
        KeyVisibility::User(user) => query.filter(user_id.eq(user.to_string())).filter(organization_id.is_null()),
        KeyVisibility::Organization { id, all_keys, organization_keys, user_keys } => {
            let within = query.filter(organization_id.eq(id.to_string()));
            match (all_keys, organization_keys, user_keys) {
                (true, ..) => within,
                (false, true, None) => within.filter(user_id.is_null()),
                (false, true, Some(user)) => within.filter(user_id.is_null().or(user_id.eq(user.to_string()))),
                (false, false, Some(user)) => within.filter(user_id.eq(user.to_string())),
                (false, false, None) => return Ok(Page { data: Vec::new(), next: None }),
            }
        }
    };
    if let Some(after) = &page.cursor {
        query = query.filter(service_clients::id.lt(after.clone()));
    }
    let rows: Vec<Row> = query.order(service_clients::id.desc()).limit(page.limit + 1).load(connection)?;
    let clients = rows.into_iter().map(client).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(clients, page.limit, |client| client.id.to_string()))
}

/// Returns the ids of the service clients of the account, oldest first. `names` restricts them to
/// these names.
pub fn of_account(connection: &mut Conn, names: Option<&[DisplayName]>) -> Result<Vec<ServiceClientId>, StoreError> {
    let mut query = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .filter(service_clients::owner_type.eq("account"))
        .select(service_clients::id)
        .into_boxed();
    if let Some(names) = names {
        let names: Vec<_> = names.iter().map(|name| name.as_str().to_owned()).collect();
        query = query.filter(service_clients::name.eq_any(names));
    }
    let ids: Vec<String> = query.order(service_clients::id.asc()).load(connection)?;
    ids.iter().map(|id| parsed("service client id", id)).collect()
}

/// Returns how many service clients a user has under one generation id of the user or membership.
pub fn count(connection: &mut Conn, of: &GenerationId) -> Result<i64, StoreError> {
    let found = service_clients::table
        .filter(service_clients::generation_id.eq(of.as_str()))
        .filter(service_clients::user_id.is_not_null())
        .filter(service_clients::deleted_at.is_null());
    Ok(found.count().get_result(connection)?)
}

/// Returns the ids of at most 10 service clients that hold a permission.
pub fn holding(connection: &mut Conn, permission: &PermissionName) -> Result<Vec<String>, StoreError> {
    let found = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .filter(crate::store::access::permissions::permissions_contain(permission))
        .select(service_clients::id)
        .limit(10)
        .load(connection)?;
    Ok(found)
}

fn client(row: Row) -> Result<ServiceClient, StoreError> {
    Ok(ServiceClient {
        home: home_of(row.user_id.as_deref(), row.organization_id.as_deref(), row.generation_id.as_deref())?,
        id: parsed("service client id", &row.id)?,
        name: parsed("service client name", &row.name)?,
        permissions: permission_set(&row.permissions)?,
        metadata: parsed_metadata(&row.metadata)?,
        created_at: Timestamp::from_millis(row.created_at),
        created_by: ActorRef::from_stored(&row.created_by),
        version: row.version,
    })
}
