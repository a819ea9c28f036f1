//! API keys and the credentials that prove them.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::domain::{
    api_key::{ApiKey, Credential, Life, Owner},
    event::ActorRef,
    id::{CredentialId, KeyId, ServiceClientId},
    json::Metadata,
    page::{Page, PageRequest},
    permission::{PermissionName, PermissionSet},
    time::{Span, Timestamp},
};

use super::{
    change::Tx,
    connection::Conn,
    dialect,
    error::StoreError,
    schema::{api_keys, credentials},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub(super) struct KeyRow {
    pub id: String,
    pub name: String,
    pub owner_type: String,
    pub owner_id: Option<String>,
    pub permissions: String,
    pub audiences: Option<String>,
    pub metadata: String,
    pub max_token_ttl: Option<i64>,
    pub suspended_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    pub version: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
struct CredentialRow {
    id: String,
    key_id: String,
    prefix: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

/// A credential on its way into the database.
#[derive(Debug)]
pub struct NewCredential {
    pub credential: Credential,
    pub sealed: Vec<u8>,
    pub master_version: i32,
}

/// Which keys a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    pub service_client: Option<ServiceClientId>,
}

/// # Errors
/// The database does not answer, or the key is there already.
pub fn insert(tx: &mut Tx<'_>, key: &ApiKey, credential: &NewCredential) -> Result<(), StoreError> {
    let (owner_type, owner_id) = owner_columns(&key.owner);
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(key.id.as_str()),
            api_keys::name.eq(key.name.as_str()),
            api_keys::owner_type.eq(owner_type),
            api_keys::owner_id.eq(owner_id),
            api_keys::permissions.eq(key.permissions.to_string()),
            api_keys::audiences.eq(audiences_column(key)?),
            api_keys::metadata.eq(key.metadata.to_text()),
            api_keys::max_token_ttl.eq(key.max_token_ttl.map(Span::millis)),
            api_keys::suspended_at.eq(key.life.suspended_at.map(Timestamp::millis)),
            api_keys::revoked_at.eq(key.life.revoked_at.map(Timestamp::millis)),
            api_keys::expires_at.eq(key.life.expires_at.map(Timestamp::millis)),
            api_keys::created_at.eq(key.created_at.millis()),
            api_keys::created_by.eq(key.created_by.to_stored()),
            api_keys::version.eq(key.version),
        ))
        .execute(&mut **tx)?;
    insert_credential(tx, &key.id, credential)
}

/// # Errors
/// The database does not answer, or the credential is there already.
pub fn insert_credential(tx: &mut Tx<'_>, key: &KeyId, new: &NewCredential) -> Result<(), StoreError> {
    diesel::insert_into(credentials::table)
        .values((
            credentials::id.eq(new.credential.id.as_str()),
            credentials::key_id.eq(key.as_str()),
            credentials::prefix.eq(new.credential.prefix.as_str()),
            credentials::sealed.eq(new.sealed.as_slice()),
            credentials::master_version.eq(new.master_version),
            credentials::created_at.eq(new.credential.created_at.millis()),
            credentials::expires_at.eq(new.credential.expires_at.map(Timestamp::millis)),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Sets the end of a credential's life.
///
/// # Errors
/// The database does not answer.
pub fn end_credential(tx: &mut Tx<'_>, id: &CredentialId, end: Timestamp) -> Result<(), StoreError> {
    diesel::update(credentials::table.find(id.as_str()))
        .set(credentials::expires_at.eq(Some(end.millis())))
        .execute(&mut **tx)?;
    Ok(())
}

/// Writes back a key that was read by `find_for_change` and altered; its version becomes the next.
///
/// # Errors
/// The database does not answer.
pub fn update(tx: &mut Tx<'_>, key: &ApiKey) -> Result<(), StoreError> {
    diesel::update(api_keys::table.find(key.id.as_str()))
        .set((
            api_keys::name.eq(key.name.as_str()),
            api_keys::permissions.eq(key.permissions.to_string()),
            api_keys::audiences.eq(audiences_column(key)?),
            api_keys::metadata.eq(key.metadata.to_text()),
            api_keys::max_token_ttl.eq(key.max_token_ttl.map(Span::millis)),
            api_keys::suspended_at.eq(key.life.suspended_at.map(Timestamp::millis)),
            api_keys::revoked_at.eq(key.life.revoked_at.map(Timestamp::millis)),
            api_keys::expires_at.eq(key.life.expires_at.map(Timestamp::millis)),
            api_keys::version.eq(api_keys::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Takes a key out of sight.
///
/// # Errors
/// The database does not answer.
pub fn hide(tx: &mut Tx<'_>, id: &KeyId) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::update(api_keys::table.find(id.as_str())).set(api_keys::deleted_at.eq(Some(now))).execute(&mut **tx)?;
    Ok(())
}

/// A key with the credentials that prove it at `now`.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn find(connection: &mut Conn, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<KeyRow> = api_keys::table
        .find(id.as_str())
        .filter(api_keys::deleted_at.is_null())
        .select(KeyRow::as_select())
        .first(connection)
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(with_credentials(connection, vec![row], now)?.pop())
}

/// As `find`, and no other change can touch the key until this one ends.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn find_for_change(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    // `FOR UPDATE` does not pass through the multi-connection; an update that changes nothing takes the same lock.
    diesel::update(api_keys::table.find(id.as_str()))
        .set(api_keys::version.eq(api_keys::version))
        .execute(&mut **tx)?;
    let now = tx.now();
    find(tx, id, now)
}

/// # Errors
/// The database does not answer, or holds what it should not.
pub fn list(
    connection: &mut Conn,
    filter: &KeyFilter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<ApiKey>, StoreError> {
    let mut query = api_keys::table.filter(api_keys::deleted_at.is_null()).select(KeyRow::as_select()).into_boxed();
    if let Some(client) = &filter.service_client {
        query = query.filter(api_keys::owner_id.eq(client.to_string()));
    }
    if let Some(after) = &page.after {
        query = query.filter(api_keys::id.lt(after.clone()));
    }
    let rows: Vec<KeyRow> = query.order(api_keys::id.desc()).limit(page.limit + 1).load(connection)?;
    let keys = with_credentials(connection, rows, now)?;
    Ok(Page::from_rows(keys, page.limit, |key| key.id.to_string()))
}

/// The ids of keys that carry a permission, a few of them: enough to say who stands in the way.
///
/// # Errors
/// The database does not answer.
pub fn carrying(connection: &mut Conn, permission: &PermissionName) -> Result<Vec<String>, StoreError> {
    let found = api_keys::table
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::revoked_at.is_null())
        .filter(super::permissions::is_listed(permission))
        .select(api_keys::id)
        .limit(10)
        .load(connection)?;
    Ok(found)
}

/// Writes many last-used times at once; a time never moves back.
///
/// # Errors
/// The database does not answer.
pub fn touch(tx: &mut Tx<'_>, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    dialect::touch_credentials(tx, used)
}

fn with_credentials(connection: &mut Conn, rows: Vec<KeyRow>, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let found: Vec<CredentialRow> = credentials::table
        .filter(credentials::key_id.eq_any(ids))
        .order((credentials::created_at.desc(), credentials::id.asc()))
        .select(CredentialRow::as_select())
        .load(connection)?;
    let mut by_key: BTreeMap<String, Vec<Credential>> = BTreeMap::new();
    for row in found {
        let key = row.key_id.clone();
        let credential = credential(row)?;
        if credential.expires_at.is_none_or(|end| end > now) {
            by_key.entry(key).or_default().push(credential);
        }
    }
    rows.into_iter()
        .map(|row| {
            let credentials = by_key.remove(&row.id).unwrap_or_default();
            key(row, credentials)
        })
        .collect()
}

fn credential(row: CredentialRow) -> Result<Credential, StoreError> {
    Ok(Credential {
        id: parsed("credential id", &row.id)?,
        prefix: parsed("prefix", &row.prefix)?,
        created_at: Timestamp::from_millis(row.created_at),
        expires_at: row.expires_at.map(Timestamp::from_millis),
        last_used_at: row.last_used_at.map(Timestamp::from_millis),
    })
}

fn key(row: KeyRow, credentials: Vec<Credential>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: parsed("key id", &row.id)?,
        name: parsed("key name", &row.name)?,
        owner: owner(&row)?,
        permissions: permission_set(&row.permissions)?,
        audiences: audiences(row.audiences.as_deref())?,
        metadata: parsed_metadata(&row.metadata)?,
        max_token_ttl: span(row.max_token_ttl),
        life: life(&row),
        credentials,
        created_at: Timestamp::from_millis(row.created_at),
        created_by: ActorRef::from_stored(&row.created_by),
        version: row.version,
    })
}

pub(super) fn life(row: &KeyRow) -> Life {
    Life {
        suspended_at: row.suspended_at.map(Timestamp::from_millis),
        revoked_at: row.revoked_at.map(Timestamp::from_millis),
        expires_at: row.expires_at.map(Timestamp::from_millis),
    }
}

pub(super) fn owner(row: &KeyRow) -> Result<Owner, StoreError> {
    match (row.owner_type.as_str(), &row.owner_id) {
        ("service_client", Some(id)) => Ok(Owner::ServiceClient(parsed("owner id", id)?)),
        ("none", None) => Ok(Owner::Nobody),
        (other, _) => Err(StoreError::Corrupt(format!("owner type {other}"))),
    }
}

fn owner_columns(owner: &Owner) -> (&'static str, Option<String>) {
    match owner {
        Owner::ServiceClient(id) => ("service_client", Some(id.to_string())),
        Owner::Nobody => ("none", None),
    }
}

fn audiences_column(key: &ApiKey) -> Result<Option<String>, StoreError> {
    key.audiences
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn audiences(column: Option<&str>) -> Result<Option<Vec<crate::domain::audience::Identifier>>, StoreError> {
    column.map(serde_json::from_str).transpose().map_err(|error| StoreError::Corrupt(format!("audiences: {error}")))
}

pub(super) fn permission_set(column: &str) -> Result<PermissionSet, StoreError> {
    PermissionSet::from_stored(column).map_err(|error| StoreError::Corrupt(format!("permissions: {error}")))
}

pub(super) fn span(column: Option<i64>) -> Option<Span> {
    column.map(|millis| Span::from_millis(millis.max(0).unsigned_abs()))
}

pub(super) fn parsed_metadata(column: &str) -> Result<Metadata, StoreError> {
    Metadata::parse(column).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads a column into its type.
pub(super) fn parsed<T: std::str::FromStr>(what: &str, column: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    column.parse().map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}
