//! API keys and their credentials.

use std::collections::BTreeMap;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl,
    SelectableHelper,
};

use crate::{
    domain::{
        access::{permission::PermissionName, policy::KeyVisibility},
        common::{
            id::KeyId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        credentials::{
            api_key::{ApiKey, Credential, KeyFilter},
            expiry_notification,
        },
        events::ActorRef,
    },
    store::{
        api_keys::{
            credentials::{CredentialRow, NewCredential, credential_from_row, insert_credential},
            key_row::{AttributeColumns, KeyRow, attributes},
            owner_status::{self, OwnerRow},
        },
        columns::parsed,
        error::StoreError,
        pool::Conn,
        rows::{lock_row, values},
        schema::{api_keys, credential_uses, credentials, service_clients},
        transaction::Tx,
    },
};

pub fn insert(tx: &mut Tx<'_>, key: &ApiKey, credential: &NewCredential) -> Result<(), StoreError> {
    let ownership = &key.ownership;
    let owner_scope = &ownership.owner_scope;
    let due_days = |end| expiry_notification::due_notification_days(end, key.created_at);
    let notified_days = key.attributes.expires_at.and_then(due_days);
    diesel::insert_into(api_keys::table)
        .values((
            AttributeColumns::from(&key.attributes),
            values!(api_keys, key =>
                id, owner_type = ownership.owner.kind(), owner_id = ownership.owner.id(),
                organization_id = owner_scope.organization(), user_id = owner_scope.user(), generation_id = owner_scope.generation_id(),
                creator_id = ownership.creator_membership.as_ref().map(|(user, _)| user),
                creator_generation_id = ownership.creator_membership.as_ref().map(|(_, generation_id)| generation_id),
                suspended_at, revoked_at, created_at, created_by, version, notified_days = notified_days,
            ),
        ))
        .execute(&mut **tx)?;
    insert_credential(tx, &key.id, credential)
}

/// Writes back a key that was read by `find_for_change` and modified. Increments its version.
pub fn update(tx: &mut Tx<'_>, key: &ApiKey) -> Result<(), StoreError> {
    diesel::update(api_keys::table.find(&key.id))
        .set((
            AttributeColumns::from(&key.attributes),
            values!(api_keys, key =>
                suspended_at, revoked_at, deleted_at = key.archived_at, version = api_keys::version + 1,
            ),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Finds a key, archived or not, with the credentials that have not expired at `now`.
pub fn find(connection: &mut Conn, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<KeyRow> = api_keys::table.find(id).select(KeyRow::as_select()).first(connection).optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(load_owners_and_credentials(connection, vec![row], now)?.pop())
}

/// Like `find`, but locks the key until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    lock_row!(tx, api_keys, id);
    let now = tx.now();
    find(tx, id, now)
}

/// Returns the keys within `reach` that match `filter`, newest first.
pub fn list(
    connection: &mut Conn,
    reach: &KeyVisibility,
    filter: &KeyFilter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<ApiKey>, StoreError> {
    let mut query = api_keys::table.select(KeyRow::as_select()).into_boxed();
    query = match reach {
        KeyVisibility::All => query,
        KeyVisibility::None => return Ok(Page { data: Vec::new(), next: None }),
        KeyVisibility::User(user) => {
            query.filter(api_keys::user_id.eq(user)).filter(api_keys::organization_id.is_null())
        }
        KeyVisibility::Organization { id, all_keys, organization_keys, user_keys } => {
            let within = query.filter(api_keys::organization_id.eq(id));
            match (all_keys, organization_keys, user_keys) {
                (true, ..) => within,
                (false, true, None) => within.filter(api_keys::user_id.is_null()),
                (false, true, Some(user)) => within.filter(api_keys::user_id.is_null().or(api_keys::user_id.eq(user))),
                (false, false, Some(user)) => within.filter(api_keys::user_id.eq(user)),
                (false, false, None) => return Ok(Page { data: Vec::new(), next: None }),
            }
        }
    };
    query = match filter.only_archived {
        false => query.filter(api_keys::deleted_at.is_null()),
        true => query.filter(api_keys::deleted_at.is_not_null()),
    };
    if let Some(kind) = filter.owner_type {
        query = query.filter(api_keys::owner_type.eq(kind));
    }
    if let Some(client) = &filter.service_client {
        query = query.filter(api_keys::owner_id.eq(client));
    }
    if let Some(organization) = &filter.organization {
        query = query.filter(api_keys::organization_id.eq(organization));
    }
    if let Some(user) = &filter.user {
        query = query.filter(api_keys::user_id.eq(user));
    }
    if let Some(since) = filter.unused_since {
        let used = credentials::table
            .inner_join(credential_uses::table)
            .filter(credentials::key_id.eq(api_keys::id))
            .filter(credential_uses::last_used_at.ge(since));
        query = query.filter(api_keys::created_at.lt(since)).filter(diesel::dsl::not(diesel::dsl::exists(used)));
    }
    if let Some(after) = &page.cursor {
        query = query.filter(api_keys::id.lt(after.clone()));
    }
    let rows: Vec<KeyRow> = query.order(api_keys::id.desc()).limit(page.limit + 1).load(connection)?;
    let keys = load_owners_and_credentials(connection, rows, now)?;
    Ok(Page::from_rows(keys, page.limit, |key| key.id.to_string()))
}

/// Returns the keys of service clients that hold a permission, without revoked and suspended keys.
pub fn find_service_client_keys_with_permission(
    connection: &mut Conn,
    permission: &PermissionName,
    now: Timestamp,
) -> Result<Vec<ApiKey>, StoreError> {
    let clients: Vec<String> = service_clients::table
        .filter(service_clients::deleted_at.is_null())
        .filter(crate::store::access::permissions::permissions_contain(permission))
        .select(service_clients::id)
        .load(connection)?;
    let rows: Vec<KeyRow> = api_keys::table
        .filter(api_keys::owner_id.eq_any(clients))
        .filter(api_keys::owner_type.eq("service_client"))
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::suspended_at.is_null())
        .select(KeyRow::as_select())
        .load(connection)?;
    load_owners_and_credentials(connection, rows, now)
}

/// Returns the ids of at most 10 keys that carry a permission, which is enough for an error
/// message.
pub fn find_ids_with_permission(connection: &mut Conn, permission: &PermissionName) -> Result<Vec<String>, StoreError> {
    let found = api_keys::table
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::revoked_at.is_null())
        .filter(crate::store::access::permissions::permissions_contain(permission))
        .select(api_keys::id)
        .limit(10)
        .load(connection)?;
    Ok(found)
}

/// The credentials of keys with their last-used times, newest first.
macro_rules! credentials_query {
    () => {
        credentials::table
            .left_join(credential_uses::table)
            .order((credentials::created_at.desc(), credentials::id.asc()))
            .select((CredentialRow::as_select(), credential_uses::last_used_at.nullable()))
    };
}

/// Completes a key whose row was already read with the credentials that have not expired at `now`.
pub(crate) fn load_key_credentials(
    connection: &mut Conn,
    row: KeyRow,
    owner: OwnerRow,
    now: Timestamp,
) -> Result<ApiKey, StoreError> {
    let missing = || StoreError::invalid_data("a key without its row");
    load_credentials_of_keys(connection, vec![(row, owner, now)])?.pop().ok_or_else(missing)?
}

/// Like `load_key_credentials`, for many keys in the given order. Invalid data of one key does not
/// affect the others.
pub(crate) fn load_credentials_of_keys(
    connection: &mut Conn,
    rows: Vec<(KeyRow, OwnerRow, Timestamp)>,
) -> Result<Vec<Result<ApiKey, StoreError>>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|(row, ..)| row.id.clone()).collect();
    let found: Vec<(CredentialRow, Option<Timestamp>)> = match ids.as_slice() {
        // This statement is prepared once, whereas SQLite prepares a statement with a list each
        // time.
        [one] => credentials_query!().filter(credentials::key_id.eq(one)).load(connection)?,
        several => credentials_query!().filter(credentials::key_id.eq_any(several)).load(connection)?,
    };
    let mut of_key: BTreeMap<String, Vec<(CredentialRow, Option<Timestamp>)>> = BTreeMap::new();
    for credential in found {
        of_key.entry(credential.0.key_id.clone()).or_default().push(credential);
    }
    let build = |(row, owner, now): (KeyRow, OwnerRow, Timestamp)| {
        let found = of_key.get(&row.id).cloned().unwrap_or_default();
        let all = found.into_iter().map(credential_from_row).collect::<Result<Vec<_>, _>>()?;
        let is_accepted = |credential: &Credential| credential.expires_at.is_none_or(|end| end > now);
        build_key(row, &owner, all.into_iter().filter(is_accepted).collect())
    };
    Ok(rows.into_iter().map(build).collect())
}

/// Completes the keys with their owner status and their credentials.
fn load_owners_and_credentials(
    connection: &mut Conn,
    rows: Vec<KeyRow>,
    now: Timestamp,
) -> Result<Vec<ApiKey>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let mut owners = owner_status::find_many(connection, &ids)?;
    let with_owner = |row: KeyRow| {
        let owner = owners.remove(&row.id).unwrap_or_default();
        (row, owner, now)
    };
    let rows = rows.into_iter().map(with_owner).collect();
    load_credentials_of_keys(connection, rows)?.into_iter().collect()
}

fn build_key(row: KeyRow, owner: &OwnerRow, credentials: Vec<Credential>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        ownership: owner_status::ownership(&row, owner)?,
        id: parsed("key id", &row.id)?,
        attributes: attributes(&row)?,
        suspended_at: row.suspended_at,
        revoked_at: row.revoked_at,
        archived_at: row.deleted_at,
        credentials,
        created_at: row.created_at,
        created_by: ActorRef::from_stored(&row.created_by),
        version: row.version,
    })
}
