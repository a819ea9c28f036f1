//! Owner deletions. The keys of a deleted owner stop working at once; each key then gets an event
//! of its own, which a job records in batches.

use crate::{
    domain::{
        access::{
            owner::{OwnerScope, OwnerType},
            owner_status::{DeletionCause, OwnerStatus},
        },
        common::id::{GenerationId, KeyId, OrganizationId, ServiceClientId, UserId},
        credentials::expiry_notification::EXPIRED_DAYS,
    },
    store::{
        api_keys::{authentication, key_row::KeyRow, owner_status},
        prelude::*,
        schema::{api_keys, owner_deletions},
    },
};

/// The owner that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletedOwner {
    /// A user, a membership or an organization, with its generation id.
    OwnerScope(OwnerScope),
    /// The member who created keys of an organization.
    Creator(OwnerScope),
    ServiceClient(ServiceClientId),
}

/// A key that ended with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedKey {
    pub key: KeyId,
    pub organization: Option<OrganizationId>,
}

/// Records an owner deletion.
pub fn record_deletion(tx: &mut Tx<'_>, departed: &DeletedOwner, gone: DeletionCause) -> Result<(), StoreError> {
    let id: GenerationId = tx.generate_id()?;
    let now = tx.now();
    let (owner_scope, client) = match departed {
        DeletedOwner::OwnerScope(owner_scope) | DeletedOwner::Creator(owner_scope) => (Some(owner_scope), None),
        DeletedOwner::ServiceClient(id) => (None, Some(id)),
    };
    diesel::insert_into(owner_deletions::table)
        .values((
            owner_deletions::id.eq(id),
            owner_deletions::cause.eq(gone),
            owner_deletions::user_id.eq(owner_scope.and_then(OwnerScope::user)),
            owner_deletions::organization_id.eq(owner_scope.and_then(OwnerScope::organization)),
            owner_deletions::service_client_id.eq(client),
            owner_deletions::generation_id.eq(owner_scope.and_then(OwnerScope::generation_id)),
            owner_deletions::key_cursor.eq(""),
            owner_deletions::created_at.eq(now),
        ))
        .execute_in(tx)
}

/// Returns whether there are owner deletions whose keys do not all have their events.
pub fn has_pending(connection: &mut Conn) -> Result<bool, StoreError> {
    let first: Option<GenerationId> = owner_deletions::table.select(owner_deletions::id).load_first(connection)?;
    Ok(first.is_some())
}

/// A query for keys.
pub(crate) type KeyQuery<'a> = api_keys::BoxedQuery<'a, <Conn as diesel::Connection>::Backend>;

/// An owner deletion whose keys do not all have their events.
#[derive(Queryable, Selectable)]
#[diesel(table_name = owner_deletions)]
pub(crate) struct OwnerDeletion {
    id: GenerationId,
    cause: DeletionCause,
    user_id: Option<UserId>,
    organization_id: Option<OrganizationId>,
    service_client_id: Option<ServiceClientId>,
    generation_id: Option<GenerationId>,
    key_cursor: String,
}

impl OwnerDeletion {
    /// Restricts a query to the keys beyond the event cursor that may have ended with this owner.
    pub fn filter_affected_keys<'a>(&self, keys: KeyQuery<'a>) -> KeyQuery<'a> {
        let keys = keys.filter(api_keys::id.gt(self.key_cursor.clone()));
        match (self.cause, self.service_client_id.clone()) {
            (_, Some(client)) => {
                keys.filter(api_keys::owner_id.eq(client)).filter(api_keys::owner_type.eq(OwnerType::ServiceClient))
            }
            (DeletionCause::CreatorLeft, None) => keys
                .filter(api_keys::creator_id.eq(self.user_id.clone()))
                .filter(api_keys::creator_generation_id.eq(self.generation_id.clone())),
            (DeletionCause::OrganizationDeleted, None) => {
                keys.filter(api_keys::organization_id.eq(self.organization_id.clone()))
            }
            (DeletionCause::UserDeleted | DeletionCause::MemberLeft | DeletionCause::ServiceClientDeleted, None) => {
                keys.filter(api_keys::user_id.eq(self.user_id.clone()))
                    .filter(api_keys::generation_id.eq(self.generation_id.clone()))
            }
        }
    }
}

/// Returns the owner deletions whose keys do not all have their events.
pub(crate) fn list_pending(connection: &mut Conn) -> Result<Vec<OwnerDeletion>, StoreError> {
    owner_deletions::table.order(owner_deletions::id.asc()).select(OwnerDeletion::as_select()).load_all(connection)
}

/// Returns whether the event for the permanent end of the key with its owner has been recorded. The
/// end with its creator is not permanent, because it depends on a setting.
pub fn is_end_recorded(connection: &mut Conn, key: &KeyId) -> Result<bool, StoreError> {
    let cause: Option<Option<DeletionCause>> =
        api_keys::table.find(key).select(api_keys::ended_with).load_first(connection)?;
    Ok(cause.flatten().is_some_and(|cause| cause != DeletionCause::CreatorLeft))
}

/// Examines up to `most` keys of the first owner deletion and returns the keys that ended with it,
/// and the cause. These keys count as notified with this change. Returns `None` if there is no
/// owner deletion left. The caller must hold a lock that prevents concurrent calls.
pub fn take_ended_keys(
    tx: &mut Tx<'_>,
    most: i64,
    ends_with_creator: bool,
) -> Result<Option<(DeletionCause, Vec<EndedKey>)>, StoreError> {
    let first: Option<OwnerDeletion> =
        owner_deletions::table.order(owner_deletions::id.asc()).select(OwnerDeletion::as_select()).load_first(tx)?;
    let Some(deletion) = first else { return Ok(None) };
    let query = deletion.filter_affected_keys(api_keys::table.filter(api_keys::revoked_at.is_null()).into_boxed());
    let rows: Vec<KeyRow> = query
        .filter(api_keys::notified_days.is_null().or(api_keys::notified_days.ne(EXPIRED_DAYS)))
        .order(api_keys::id.asc())
        .limit(most)
        .select(KeyRow::as_select())
        .load_all(tx)?;
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    match ids.last() {
        Some(last) => diesel::update(owner_deletions::table.find(&deletion.id))
            .set(owner_deletions::key_cursor.eq(last))
            .count_affected(tx)?,
        None => diesel::delete(owner_deletions::table.find(&deletion.id)).count_affected(tx)?,
    };
    // An organization that was created again has new keys with the same organization id. Only the
    // owner status of each key distinguishes them.
    let mut owners = owner_status::find_many(tx, &ids)?;
    let mut ended = Vec::new();
    for key in rows {
        let owner = owners.remove(&key.id).unwrap_or_default();
        let organization = key.owner_scope.organization().cloned();
        let creator = key.creator_id.zip(key.creator_generation_id);
        let ownership = owner_status::ownership(key.owner, key.owner_scope, creator, owner);
        if let OwnerStatus::Deleted(_) = ownership.owner_status(ends_with_creator) {
            tx.versions.insert(authentication::subject(&key.id), key.version);
            ended.push(EndedKey { key: key.id, organization });
        }
    }
    let ended_ids: Vec<_> = ended.iter().map(|ended| &ended.key).collect();
    diesel::update(api_keys::table.filter(api_keys::id.eq_any(ended_ids)))
        .set((api_keys::notified_days.eq(Some(EXPIRED_DAYS)), api_keys::ended_with.eq(deletion.cause)))
        .execute_in(tx)?;
    Ok(Some((deletion.cause, ended)))
}
