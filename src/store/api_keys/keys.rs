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
            time::{Span, Timestamp},
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
            key_row::{KeyRow, audiences, life, limit},
            owner_status::{self, StandingRow},
        },
        columns::{parsed, parsed_metadata, permission_set, span},
        error::StoreError,
        pool::Conn,
        schema::{api_keys, credential_uses, credentials, service_clients},
        transaction::Tx,
    },
};

pub fn insert(tx: &mut Tx<'_>, key: &ApiKey, credential: &NewCredential) -> Result<(), StoreError> {
    let ownership = &key.ownership;
    let home = &ownership.home;
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(key.id.as_str()),
            api_keys::name.eq(key.name.as_str()),
            api_keys::owner_type.eq(ownership.owner.kind().as_str()),
            api_keys::owner_id.eq(ownership.owner.id()),
            api_keys::organization_id.eq(home.organization().map(|id| id.as_str())),
            api_keys::user_id.eq(home.user().map(|id| id.as_str())),
            api_keys::generation_id.eq(home.generation_id().map(|id| id.as_str())),
            api_keys::creator_id.eq(ownership.creator_membership.as_ref().map(|(user, _)| user.as_str())),
            api_keys::creator_generation_id
                .eq(ownership.creator_membership.as_ref().map(|(_, generation_id)| generation_id.as_str())),
            api_keys::exchanges_per_minute.eq(limit_column(key)),
            api_keys::permissions.eq(key.permissions.to_string()),
            api_keys::audiences.eq(audiences_column(key)?),
            api_keys::metadata.eq(key.metadata.to_json()),
            api_keys::max_token_ttl.eq(key.max_token_ttl.map(Span::millis)),
            api_keys::suspended_at.eq(key.lifecycle.suspended_at.map(Timestamp::millis)),
            api_keys::revoked_at.eq(key.lifecycle.revoked_at.map(Timestamp::millis)),
            api_keys::expires_at.eq(key.lifecycle.expires_at.map(Timestamp::millis)),
            api_keys::created_at.eq(key.created_at.millis()),
            api_keys::created_by.eq(key.created_by.to_stored()),
            api_keys::version.eq(key.version),
            api_keys::notified_days.eq(key
                .lifecycle
                .expires_at
                .and_then(|end| expiry_notification::due_notification_days(end, key.created_at))),
        ))
        .execute(&mut **tx)?;
    insert_credential(tx, &key.id, credential)
}

/// Writes back a key that was read by `find_for_change` and modified. Increments its version.
pub fn update(tx: &mut Tx<'_>, key: &ApiKey) -> Result<(), StoreError> {
    diesel::update(api_keys::table.find(key.id.as_str()))
        .set((
            api_keys::name.eq(key.name.as_str()),
            api_keys::permissions.eq(key.permissions.to_string()),
            api_keys::audiences.eq(audiences_column(key)?),
            api_keys::metadata.eq(key.metadata.to_json()),
            api_keys::max_token_ttl.eq(key.max_token_ttl.map(Span::millis)),
            api_keys::suspended_at.eq(key.lifecycle.suspended_at.map(Timestamp::millis)),
            api_keys::revoked_at.eq(key.lifecycle.revoked_at.map(Timestamp::millis)),
            api_keys::expires_at.eq(key.lifecycle.expires_at.map(Timestamp::millis)),
            api_keys::deleted_at.eq(key.archived_at.map(Timestamp::millis)),
            api_keys::exchanges_per_minute.eq(limit_column(key)),
            api_keys::version.eq(api_keys::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Finds a key, archived or not, with the credentials that have not expired at `now`.
pub fn find(connection: &mut Conn, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<KeyRow> =
        api_keys::table.find(id.as_str()).select(KeyRow::as_select()).first(connection).optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(load_owners_and_credentials(connection, vec![row], now)?.pop())
}

/// Like `find`, but locks the key until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    // Diesel's `MultiConnection` does not support `FOR UPDATE`. An update without effect takes the
    // same lock.
    diesel::update(api_keys::table.find(id.as_str()))
        .set(api_keys::version.eq(api_keys::version))
        .execute(&mut **tx)?;
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
            query.filter(api_keys::user_id.eq(user.to_string())).filter(api_keys::organization_id.is_null())
        }
        KeyVisibility::Organization { id, all_keys, organization_keys, user_keys } => {
            let within = query.filter(api_keys::organization_id.eq(id.to_string()));
            match (all_keys, organization_keys, user_keys) {
                (true, ..) => within,
                (false, true, None) => within.filter(api_keys::user_id.is_null()),
                (false, true, Some(user)) => {
                    within.filter(api_keys::user_id.is_null().or(api_keys::user_id.eq(user.to_string())))
                }
                (false, false, Some(user)) => within.filter(api_keys::user_id.eq(user.to_string())),
                (false, false, None) => return Ok(Page { data: Vec::new(), next: None }),
            }
        }
    };
    query = match filter.only_archived {
        false => query.filter(api_keys::deleted_at.is_null()),
        true => query.filter(api_keys::deleted_at.is_not_null()),
    };
    if let Some(kind) = filter.owner_type {
        query = query.filter(api_keys::owner_type.eq(kind.as_str()));
    }
    if let Some(client) = &filter.service_client {
        query = query.filter(api_keys::owner_id.eq(client.to_string()));
    }
    if let Some(organization) = &filter.organization {
        query = query.filter(api_keys::organization_id.eq(organization.to_string()));
    }
    if let Some(user) = &filter.user {
        query = query.filter(api_keys::user_id.eq(user.to_string()));
    }
    if let Some(since) = filter.unused_since {
        let used = credentials::table
            .inner_join(credential_uses::table)
            .filter(credentials::key_id.eq(api_keys::id))
            .filter(credential_uses::last_used_at.ge(since.millis()));
        query =
            query.filter(api_keys::created_at.lt(since.millis())).filter(diesel::dsl::not(diesel::dsl::exists(used)));
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
    standing: StandingRow,
    now: Timestamp,
) -> Result<ApiKey, StoreError> {
    let gone = || StoreError::InvalidData("a key without its row".to_owned());
    load_credentials_of_keys(connection, vec![(row, standing, now)])?.pop().ok_or_else(gone)?
}

/// Like `load_key_credentials`, for many keys in the given order. Invalid data of one key does not
/// affect the others.
pub(crate) fn load_credentials_of_keys(
    connection: &mut Conn,
    rows: Vec<(KeyRow, StandingRow, Timestamp)>,
) -> Result<Vec<Result<ApiKey, StoreError>>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|(row, ..)| row.id.clone()).collect();
    let found: Vec<(CredentialRow, Option<i64>)> = match ids.as_slice() {
        // This statement is prepared once, whereas SQLite prepares a statement with a list each
        // time.
        [one] => credentials_query!().filter(credentials::key_id.eq(one)).load(connection)?,
        several => credentials_query!().filter(credentials::key_id.eq_any(several)).load(connection)?,
    };
    let mut of_key: BTreeMap<String, Vec<(CredentialRow, Option<i64>)>> = BTreeMap::new();
    for credential in found {
        of_key.entry(credential.0.key_id.clone()).or_default().push(credential);
    }
    let whole = |(row, standing, now): (KeyRow, StandingRow, Timestamp)| {
        let found = of_key.get(&row.id).cloned().unwrap_or_default();
        let all = found.into_iter().map(credential_from_row).collect::<Result<Vec<_>, _>>()?;
        let proving = |credential: &Credential| credential.expires_at.is_none_or(|end| end > now);
        key(row, &standing, all.into_iter().filter(proving).collect())
    };
    Ok(rows.into_iter().map(whole).collect())
}

/// Completes the keys with their owner status and their credentials.
fn load_owners_and_credentials(
    connection: &mut Conn,
    rows: Vec<KeyRow>,
    now: Timestamp,
) -> Result<Vec<ApiKey>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let mut standings = owner_status::of_keys(connection, &ids)?;
    let with_standing = |row: KeyRow| {
        let standing = standings.remove(&row.id).unwrap_or_default();
        (row, standing, now)
    };
    let rows = rows.into_iter().map(with_standing).collect();
    load_credentials_of_keys(connection, rows)?.into_iter().collect()
}

fn key(row: KeyRow, standing: &StandingRow, credentials: Vec<Credential>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        ownership: owner_status::ownership(&row, standing)?,
        id: parsed("key id", &row.id)?,
        name: parsed("key name", &row.name)?,
        permissions: permission_set(&row.permissions)?,
        audiences: audiences(row.audiences.as_deref())?,
        metadata: parsed_metadata(&row.metadata)?,
        max_token_ttl: span(row.max_token_ttl),
        exchanges_per_minute: limit(row.exchanges_per_minute),
        lifecycle: life(&row),
        archived_at: row.deleted_at.map(Timestamp::from_millis),
        credentials,
        created_at: Timestamp::from_millis(row.created_at),
        created_by: ActorRef::from_stored(&row.created_by),
        version: row.version,
    })
}

fn limit_column(key: &ApiKey) -> Option<i32> {
    key.exchanges_per_minute.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX))
}

fn audiences_column(key: &ApiKey) -> Result<Option<String>, StoreError> {
    key.audiences
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| StoreError::InvalidData(error.to_string()))
}
