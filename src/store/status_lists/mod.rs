//! Status lists and the assignment of their indexes. An index is assigned once: under the lock on
//! the row of its list, and with a unique constraint as a second safeguard.

pub mod revoked_credentials;
pub mod signed_lists;

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            id::{KeyId, StatusListId},
            time::Timestamp,
        },
        status_lists::{NEW_LIST_SIZE, StatusListIndex, StatusListKind},
    },
    store::{
        column_types::Count,
        lock::Lock,
        prelude::*,
        schema::{credentials, status_list_build, status_list_tokens, status_lists, token_statuses},
    },
};

/// How many random indexes are tried. At least half of a list is free, so the probability that all
/// of them are taken is at most 2⁻¹⁰⁰.
const MAX_DRAWS: usize = 100;

/// A list without its statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusListInfo {
    pub id: StatusListId,
    pub kind: StatusListKind,
    pub size: u32,
}

selectable!(status_lists => StatusListInfo { id, kind, size as Count });

pub fn list(connection: &mut Conn) -> Result<Vec<StatusListInfo>, StoreError> {
    status_lists::table.order(status_lists::id.asc()).select(StatusListInfo::as_select()).load_all(connection)
}

pub fn exists(connection: &mut Conn, id: &StatusListId) -> Result<bool, StoreError> {
    let found: Option<StatusListId> = status_lists::table.find(id).select(status_lists::id).load_first(connection)?;
    Ok(found.is_some())
}

/// Returns whether a list exists, and locks it until the end of the change.
pub(super) fn lock_list(tx: &mut Tx<'_>, id: &StatusListId) -> Result<bool, StoreError> {
    let list = status_lists::table.find(id);
    Ok(diesel::update(list).set(status_lists::size.eq(status_lists::size)).count_affected(tx)? == 1)
}

/// Assigns an index to each of the credentials, in the last step of this change. A transaction that
/// holds the lock of a list thus waits for no other lock than the one on the chain head.
pub(super) fn allocate_indexes(tx: &mut Tx<'_>, to: &[CredentialId]) -> Result<(), StoreError> {
    for credential in to {
        let StatusListIndex { list, index } = draw_free_index(tx, StatusListKind::Credential)?;
        diesel::update(credentials::table.find(credential))
            .set((credentials::status_list.eq(list), credentials::status_index.eq(index_column(index)?)))
            .execute_in(tx)?;
    }
    Ok(())
}

/// A token that is to receive an index of its own.
#[derive(Debug, Clone)]
pub struct TokenStatusRequest {
    pub jti: String,
    pub credential: CredentialId,
    pub key: KeyId,
    /// Seconds since 1970-01-01 UTC.
    pub exp: i64,
}

/// Assigns an index of its own to a token.
pub fn assign_token_index(tx: &mut Tx<'_>, token: &TokenStatusRequest) -> Result<StatusListIndex, StoreError> {
    let place = draw_free_index(tx, StatusListKind::Token)?;
    diesel::insert_into(token_statuses::table)
        .values(values!(token_statuses, token =>
            jti, list_id = &place.list, list_index = index_column(place.index)?,
            credential_id = &token.credential, key_id = &token.key, exp,
        ))
        .execute_in(tx)?;
    Ok(place)
}

/// A token with an index of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStatus {
    pub place: StatusListIndex,
    pub key: KeyId,
    pub credential: CredentialId,
    /// Seconds since 1970-01-01 UTC.
    pub exp: i64,
    pub revoked_at: Option<Timestamp>,
}

selectable!(token_statuses => TokenStatus {
    place = (list_id, list_index), key = key_id, credential = credential_id, exp, revoked_at,
});

/// Returns the status of a token, or `None` for tokens that share the index of their credential.
pub fn find_token_status(connection: &mut Conn, jti: &str) -> Result<Option<TokenStatus>, StoreError> {
    token_statuses::table.find(jti).select(TokenStatus::as_select()).load_first(connection)
}

/// Marks a token as revoked. Returns `false` if it was already revoked or has no index of its own.
/// Call this last in a change: it locks the row that a build of the lists writes.
pub fn revoke_token(tx: &mut Tx<'_>, jti: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let token = token_statuses::table.find(jti).filter(token_statuses::revoked_at.is_null());
    let revoked = diesel::update(token).set(token_statuses::revoked_at.eq(now)).count_affected(tx)?;
    if revoked == 0 {
        return Ok(false);
    }
    // The counter makes another build necessary, even if a build in progress has already read the
    // tokens. That build remains valid for everything else and is written, regardless of how many
    // tokens are revoked during it.
    diesel::update(status_list_build::table.find(1))
        .set(status_list_build::revoked_token_count.eq(status_list_build::revoked_token_count + 1))
        .execute_in(tx)?;
    Ok(true)
}

/// Deletes token lists whose last token expired before `end` (seconds since 1970-01-01 UTC), except
/// the open list. Returns how many token rows were deleted. Rows are never deleted individually,
/// because their indexes would become free again.
pub fn delete_expired_lists(tx: &mut Tx<'_>, end: i64) -> Result<usize, StoreError> {
    // The lists are processed in the order of their ids, as a build processes them.
    let lists: Vec<(StatusListId, i32, i32)> = status_lists::table
        .filter(status_lists::kind.eq(StatusListKind::Token))
        .order(status_lists::id.asc())
        .select((status_lists::id, status_lists::used, status_lists::size))
        .load_all(tx)?;
    let open = lists.iter().rfind(|(_, used, size)| *used < size / 2).map(|(id, ..)| id.clone());
    let mut forgotten = 0;
    for (id, used, _) in lists.into_iter().filter(|(id, ..)| Some(id) != open.as_ref()) {
        let of_list = token_statuses::table.filter(token_statuses::list_id.eq(&id));
        let last: Option<i64> = of_list.order(token_statuses::exp.desc()).select(token_statuses::exp).load_first(tx)?;
        if last.is_some_and(|last| last >= end) {
            continue;
        }
        // The list is deleted only if it is unchanged since its tokens were read: it may have
        // become the open list and have received another token.
        let unchanged = status_lists::table.find(&id).filter(status_lists::used.eq(used));
        if diesel::delete(unchanged).count_affected(tx)? == 0 {
            continue;
        }
        diesel::delete(status_list_tokens::table.find(&id)).execute_in(tx)?;
        forgotten += diesel::delete(of_list).count_affected(tx)?;
    }
    Ok(forgotten)
}

fn index_column(index: u32) -> Result<i32, StoreError> {
    i32::try_from(index)
        .map_err(|_| StoreError::invalid_data(format!("the status list index {index} exceeds the range of its column")))
}

/// Returns an index that was never assigned. It is random, so that a list does not reveal when a
/// credential was created.
fn draw_free_index(tx: &mut Tx<'_>, kind: StatusListKind) -> Result<StatusListIndex, StoreError> {
    let (list, size) = open_list(tx, kind)?;
    for _ in 0..MAX_DRAWS {
        let mut bytes = [0; 4];
        tx.entropy().fill(&mut bytes)?;
        let index = u32::from_le_bytes(bytes) % size.max(1);
        if !is_index_assigned(tx, kind, &list, index)? {
            return Ok(StatusListIndex { list, index });
        }
    }
    Err(StoreError::invalid_data(format!("no index of the status list {list} is free")))
}

/// The lock on the row of the list keeps the answer valid.
fn is_index_assigned(
    tx: &mut Tx<'_>,
    kind: StatusListKind,
    list: &StatusListId,
    index: u32,
) -> Result<bool, StoreError> {
    let index = index_column(index)?;
    let found: Option<String> = match kind {
        StatusListKind::Credential => credentials::table
            .filter(credentials::status_list.eq(list))
            .filter(credentials::status_index.eq(index))
            .select(credentials::id)
            .load_first(tx)?,
        StatusListKind::Token => token_statuses::table
            .filter(token_statuses::list_id.eq(list))
            .filter(token_statuses::list_index.eq(index))
            .select(token_statuses::jti)
            .load_first(tx)?,
    };
    Ok(found.is_some())
}

/// Returns a list that is less than half full, or opens a new one. Its counter is incremented, and
/// its row is locked until the end of the change. The list is selected by capacity and not by age:
/// after the clock was set back, the list with the highest id is not the newest one.
fn open_list(tx: &mut Tx<'_>, kind: StatusListKind) -> Result<(StatusListId, u32), StoreError> {
    for alone in [false, true] {
        if alone {
            tx.lock(Lock::StatusListCreation)?;
        }
        let found: Option<(StatusListId, i32)> = status_lists::table
            .filter(status_lists::kind.eq(kind))
            .filter(status_lists::used.lt(status_lists::size / 2))
            .order(status_lists::id.desc())
            .select((status_lists::id, status_lists::size))
            .load_first(tx)?;
        let Some((id, size)) = found else { continue };
        let with_room = status_lists::table.find(&id).filter(status_lists::used.lt(status_lists::size / 2));
        if diesel::update(with_room).set(status_lists::used.eq(status_lists::used + 1)).count_affected(tx)? == 1 {
            return Ok((id, u32::try_from(size).unwrap_or_default()));
        }
    }
    let id: StatusListId = tx.generate_id()?;
    let now = tx.now();
    diesel::insert_into(status_lists::table)
        .values((
            status_lists::id.eq(&id),
            status_lists::kind.eq(kind),
            status_lists::size.eq(index_column(NEW_LIST_SIZE)?),
            status_lists::used.eq(1),
            status_lists::created_at.eq(now),
        ))
        .execute_in(tx)?;
    Ok((id, NEW_LIST_SIZE))
}
