//! The credentials and tokens whose status is not valid, for the status lists. Other keys are read
//! only if their user is blocked or an owner deletion may affect them.

use std::collections::BTreeMap;

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            id::{KeyId, UserId},
            time::Timestamp,
        },
        credentials::api_key::state,
        status_lists::TokenStatus,
    },
    store::{
        api_keys::{
            key_row::KeyRow,
            owner_status::{OwnerStatusRow, ownership},
        },
        dialect::{self, CredentialStatusIndexRow, InactiveReason},
        directory::owner_deletions,
        prelude::*,
        schema::{api_keys, credentials, key_owner_status, token_statuses, users},
    },
};

/// The maximum number of values in a list of a statement.
const MAX_LIST_VALUES: usize = 500;

/// A credential whose status is not valid.
#[derive(Debug)]
pub struct RevokedCredential {
    pub credential: String,
    /// The list, and the index in it.
    pub index: Option<(String, i32)>,
    pub status: TokenStatus,
}

impl RevokedCredential {
    fn new(row: CredentialStatusIndexRow, status: TokenStatus) -> Self {
        Self { credential: row.id, index: row.status_list.zip(row.status_index), status }
    }
}

/// Calls `mark` for each credential whose status is not valid, once for each reason.
pub fn for_each_revoked_credential(
    connection: &mut Conn,
    now: Timestamp,
    ends_with_creator: bool,
    mut mark: impl FnMut(RevokedCredential),
) -> Result<(), StoreError> {
    // These conditions are stored with the key.
    for (reason, status) in [
        (InactiveReason::Revoked, TokenStatus::Invalid),
        (InactiveReason::Expired, TokenStatus::Invalid),
        (InactiveReason::OwnerDeleted, TokenStatus::Invalid),
        (InactiveReason::Suspended, TokenStatus::Suspended),
    ] {
        dialect::for_each_inactive_credential(connection, reason, now, |row| {
            mark(RevokedCredential::new(row, status))
        })?;
    }
    let ended_credentials = credentials::table.filter(credentials::expires_at.le(now)).select((
        credentials::id,
        credentials::status_list,
        credentials::status_index,
    ));
    dialect::for_each_row(connection, ended_credentials, |row| {
        mark(RevokedCredential::new(row, TokenStatus::Invalid))
    })?;
    if ends_with_creator {
        dialect::for_each_inactive_credential(connection, InactiveReason::CreatorLeft, now, |row| {
            mark(RevokedCredential::new(row, TokenStatus::Invalid));
        })?;
    }
    // The status of these keys follows from the same rule as in an exchange.
    let is_blocked = users::blocked_at.is_not_null().or(users::locked_at.is_not_null());
    let blocked: Vec<UserId> = users::table.filter(is_blocked).select(users::id).load_all(connection)?;
    for user_ids in blocked.chunks(MAX_LIST_VALUES) {
        mark_keys(connection, &mut mark, now, ends_with_creator, |keys| {
            keys.filter(api_keys::user_id.eq_any(user_ids.to_vec()))
        })?;
        if ends_with_creator {
            mark_keys(connection, &mut mark, now, ends_with_creator, |keys| {
                keys.filter(api_keys::creator_id.eq_any(user_ids.to_vec()))
            })?;
        }
    }
    for deletion in owner_deletions::list_pending(connection)? {
        mark_keys(connection, &mut mark, now, ends_with_creator, |keys| deletion.filter_affected_keys(keys))?;
    }
    Ok(())
}

type EvaluatedRow = (KeyRow, OwnerStatusRow, CredentialStatusIndexRow);

/// Calls `mark` for the credentials of the keys in a query whose status is not valid.
fn mark_keys<'a>(
    connection: &mut Conn,
    mark: &mut impl FnMut(RevokedCredential),
    now: Timestamp,
    ends_with_creator: bool,
    filter: impl FnOnce(owner_deletions::KeyQuery<'a>) -> owner_deletions::KeyQuery<'a>,
) -> Result<(), StoreError> {
    let ids: Vec<KeyId> = filter(api_keys::table.filter(api_keys::revoked_at.is_null()).into_boxed())
        .select(api_keys::id)
        .load_all(connection)?;
    for batch in ids.chunks(MAX_LIST_VALUES) {
        let found: Vec<EvaluatedRow> = credentials::table
            .inner_join(api_keys::table)
            .inner_join(key_owner_status::table.on(key_owner_status::key_id.eq(api_keys::id)))
            .filter(api_keys::id.eq_any(batch.to_vec()))
            .select((
                KeyRow::as_select(),
                // The permissions are omitted. They are the most expensive columns and do not
                // affect the status.
                OwnerStatusRow::as_select(),
                (credentials::id, credentials::status_list, credentials::status_index),
            ))
            .load_all(connection)?;
        for (key, owner, row) in found {
            let lifecycle = key.lifecycle();
            let creator = key.creator_id.zip(key.creator_generation_id);
            let owner_status =
                ownership(key.owner, key.owner_scope, creator, owner.into()).owner_status(ends_with_creator);
            let (state, _) = state(&lifecycle, &owner_status, now);
            let status = TokenStatus::from(state);
            if status != TokenStatus::Valid {
                mark(RevokedCredential::new(row, status));
            }
        }
    }
    Ok(())
}

/// Calls `mark` for each token with an index of its own whose status is not valid. The arguments
/// are the list, the index in it and the status. The status is invalid if the token itself was
/// revoked, and otherwise the status of its credential.
pub fn for_each_revoked_token(
    connection: &mut Conn,
    revoked: &BTreeMap<CredentialId, TokenStatus>,
    mut mark: impl FnMut(&str, i32, TokenStatus),
) -> Result<(), StoreError> {
    let revoked_tokens = token_statuses::table
        .filter(token_statuses::revoked_at.is_not_null())
        .select((token_statuses::list_id, token_statuses::list_index));
    dialect::for_each_row(connection, revoked_tokens, |(list, index): (String, i32)| {
        mark(&list, index, TokenStatus::Invalid)
    })?;
    let mut rest = revoked.iter();
    loop {
        let batch: BTreeMap<_, _> =
            rest.by_ref().take(MAX_LIST_VALUES).map(|(id, status)| (id.as_str(), *status)).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let found: Vec<(String, i32, String)> = token_statuses::table
            .filter(token_statuses::credential_id.eq_any(batch.keys().copied().collect::<Vec<_>>()))
            .filter(token_statuses::revoked_at.is_null())
            .select((token_statuses::list_id, token_statuses::list_index, token_statuses::credential_id))
            .load_all(connection)?;
        for (list, index, credential) in found {
            if let Some(status) = batch.get(credential.as_str()) {
                mark(&list, index, *status);
            }
        }
    }
}

/// Returns when the next key or credential expires.
pub fn find_next_expiration(connection: &mut Conn, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let of_keys: Option<Option<Timestamp>> = api_keys::table
        .filter(api_keys::expires_at.gt(now))
        .order(api_keys::expires_at.asc())
        .select(api_keys::expires_at)
        .load_first(connection)?;
    let of_credentials: Option<Option<Timestamp>> = credentials::table
        .filter(credentials::expires_at.gt(now))
        .order(credentials::expires_at.asc())
        .select(credentials::expires_at)
        .load_first(connection)?;
    Ok([of_keys, of_credentials].into_iter().flatten().flatten().min())
}
