//! API keys and their credentials.

use std::collections::BTreeMap;

use crate::{
    domain::{
        access::{key_visibility::KeyVisibility, permission::PermissionName},
        common::{
            id::KeyId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        credentials::{
            api_key::{ApiKey, ApiKeyAttributes, Credential, KeyFilter},
            creator::CreatorFilter,
            expiry_notification,
        },
        events::ActorRef,
    },
    store::{
        api_keys::{
            authentication,
            credentials::{CredentialRow, NewCredential, insert_credential},
            key_row::{AttributeColumns, KeyRow},
            owner_status::{self, OwnerRow, ownership},
        },
        column_types::Json,
        columns::{parsed, parsed_metadata},
        dialect,
        prelude::*,
        schema::{api_keys, credential_usage, credentials, service_clients},
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
                suspended_at, revoked_at, created_at, created_by, creator_key_id = tx.creator_key().cloned(),
                version, notified_days = notified_days,
            ),
        ))
        .execute_in(tx)?;
    tx.versions.insert(authentication::subject(&key.id), key.version);
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
        .execute_in(tx)?;
    tx.keys.mark_changed(&key.id);
    Ok(())
}

/// Finds a key, archived or not, with the credentials that have not expired at `now`.
pub fn find(connection: &mut Conn, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<KeyRow> = api_keys::table.find(id).select(KeyRow::as_select()).load_first(connection)?;
    let Some(row) = row else { return Ok(None) };
    Ok(load_owners_and_credentials(connection, vec![row], now)?.pop())
}

/// Returns whether there are keys.
pub fn exist(connection: &mut Conn) -> Result<bool, StoreError> {
    let found: Option<KeyId> = api_keys::table.select(api_keys::id).load_first(connection)?;
    Ok(found.is_some())
}

/// Like `find`, but locks the key until the end of the change. Returns `StoreError::Altered` if the
/// key was altered outside of Keyswap.
pub fn find_for_change(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    lock_row!(tx, api_keys, id);
    let row: Option<KeyRow> = api_keys::table.find(id).select(KeyRow::as_select()).load_first(tx)?;
    let Some(row) = row else { return Ok(None) };
    authentication::verify_for_change(tx, &row)?;
    let now = tx.now();
    Ok(load_owners_and_credentials(tx, vec![row], now)?.pop())
}

/// Like `find_for_change`, for a change that revokes the key. An older row that was put back is
/// ended as it is, and becomes the newest one.
pub fn find_for_revocation(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    match find_for_change(tx, id) {
        Err(StoreError::OlderVersion { .. }) => authentication::make_newest(tx, id)?,
        found => return found,
    }
    find_for_change(tx, id)
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
    query = match &filter.created_by {
        None => query,
        Some(CreatorFilter::WithKey(key)) => query.filter(api_keys::creator_key_id.eq(key)),
        Some(CreatorFilter::By(actor)) => query.filter(api_keys::created_by.eq(actor)),
    };
    if let Some(since) = filter.unused_since {
        let used = credentials::table
            .inner_join(credential_usage::table.on(credential_usage::credential_number.eq(credentials::number)))
            .filter(credentials::key_id.eq(api_keys::id))
            .filter(credential_usage::last_used_at.ge(since));
        query = query.filter(api_keys::created_at.lt(since)).filter(diesel::dsl::not(diesel::dsl::exists(used)));
    }
    if let Some(after) = &page.cursor {
        query = query.filter(api_keys::id.lt(after.clone()));
    }
    let rows: Vec<KeyRow> = query.order(api_keys::id.desc()).limit(page.limit + 1).load_all(connection)?;
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
        .load_all(connection)?;
    let rows: Vec<KeyRow> = api_keys::table
        .filter(api_keys::owner_id.eq_any(clients))
        .filter(api_keys::owner_type.eq("service_client"))
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::suspended_at.is_null())
        .select(KeyRow::as_select())
        .load_all(connection)?;
    load_owners_and_credentials(connection, rows, now)
}

/// Returns the ids of the keys that were created with `id`, and with keys that were created with
/// it, except for those that are revoked: at most `limit`, in their order.
pub fn find_descendants(connection: &mut Conn, id: &KeyId, limit: i64) -> Result<Vec<String>, StoreError> {
    dialect::find_descendants(connection, id, limit)
}

/// Returns the keys with these ids, in the order of the ids.
pub fn find_many(connection: &mut Conn, ids: &[String], now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
    let rows = api_keys::table.filter(api_keys::id.eq_any(ids)).order(api_keys::id.asc()).select(KeyRow::as_select());
    let rows: Vec<KeyRow> = rows.load_all(connection)?;
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
        .load_all(connection)?;
    Ok(found)
}

/// The credentials of keys with their last-used times, newest first.
macro_rules! credentials_query {
    () => {
        credentials::table
            .left_join(credential_usage::table.on(credential_usage::credential_number.eq(credentials::number)))
            .order((credentials::created_at.desc(), credentials::id.asc()))
            .select((CredentialRow::as_select(), credential_usage::last_used_at.nullable()))
    };
}

/// A key whose row was already read, with its owner, and the time at which its credentials must not
/// have expired.
pub(crate) type KeyWithOwner = (KeyRow, OwnerRow, Timestamp);

/// Completes keys with their credentials, in the given order.
pub(crate) fn load_credentials_of_keys(
    connection: &mut Conn,
    rows: Vec<KeyWithOwner>,
) -> Result<Vec<ApiKey>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|(row, ..)| row.id.clone()).collect();
    let found: Vec<(CredentialRow, Option<Timestamp>)> = match ids.as_slice() {
        // This statement is prepared once, whereas SQLite prepares a statement with a list each
        // time.
        [one] => credentials_query!().filter(credentials::key_id.eq(one)).load_all(connection)?,
        several => credentials_query!().filter(credentials::key_id.eq_any(several)).load_all(connection)?,
    };
    let mut of_key: BTreeMap<KeyId, Vec<Credential>> = BTreeMap::new();
    for (row, last_used_at) in found {
        of_key.entry(row.key_id.clone()).or_default().push(row.with_last_use(last_used_at));
    }
    let complete = |(row, owner, now): KeyWithOwner| {
        let all = of_key.get(&row.id).into_iter().flatten();
        let accepted = all.filter(|credential| credential.expires_at.is_none_or(|end| end > now));
        build_key(row, owner, accepted.cloned().collect())
    };
    rows.into_iter().map(complete).collect()
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
    load_credentials_of_keys(connection, rows.into_iter().map(with_owner).collect())
}

fn build_key(row: KeyRow, owner: OwnerRow, credentials: Vec<Credential>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        attributes: ApiKeyAttributes {
            name: parsed("key name", &row.name)?,
            description: row.description.as_deref().map(|text| parsed("key description", text)).transpose()?,
            permissions: row.permissions,
            audiences: row.audiences.map(|Json(audiences)| audiences),
            metadata: parsed_metadata(&row.metadata)?,
            max_token_ttl: row.max_token_ttl,
            exchanges_per_minute: row.exchanges_per_minute.map(u32::from),
            record_bound: row.record_bound.into(),
            expires_at: row.expires_at,
        },
        created_by: ActorRef::from_stored(&row.created_by),
        ownership: ownership(row.owner, row.owner_scope, row.creator_id.zip(row.creator_generation_id), owner),
        id: row.id,
        suspended_at: row.suspended_at,
        revoked_at: row.revoked_at,
        archived_at: row.archived_at,
        credentials,
        created_at: row.created_at,
        version: row.version,
    })
}
