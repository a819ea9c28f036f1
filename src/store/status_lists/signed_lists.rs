//! The signed status lists, and up to which event of the audit log they are built.

use crate::{
    domain::common::{derived_id::SigningKeyId, id::StatusListId, time::Timestamp},
    store::{
        prelude::*,
        schema::{event_chain_head, status_list_build, status_list_tokens},
        status_lists,
    },
};

/// The state of the last build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildState {
    /// The number of the last event that the lists include.
    pub event_cursor: i64,
    /// When the next key or credential expires.
    pub next_expiration: Option<Timestamp>,
    /// Incremented by each build, and by nothing else.
    pub version: i64,
    /// How many tokens were revoked individually.
    pub revoked_token_count: i64,
    /// How many of them the lists include.
    pub included_revoked_token_count: i64,
}

/// The metadata of a signed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedListMetadata {
    pub list: StatusListId,
    pub kid: SigningKeyId,
    /// A digest of the statuses and of the parameters of the list.
    pub content_digest: String,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct SignedList {
    pub info: SignedListMetadata,
    pub jwt: String,
}

selectable!(status_list_build => BuildState {
    event_cursor, next_expiration = next_expiration_at, version, revoked_token_count, included_revoked_token_count,
});

selectable!(status_list_tokens => SignedListMetadata { list = list_id, kid, content_digest, issued_at, expires_at });

pub fn read_build_state(connection: &mut Conn) -> Result<BuildState, StoreError> {
    status_list_build::table.find(1).select(BuildState::as_select()).load_one(connection)
}

/// Returns the number of the last event. Data that is read after this call is at least as recent.
pub fn read_last_event_number(connection: &mut Conn) -> Result<i64, StoreError> {
    event_chain_head::table.find(1).select(event_chain_head::seq).load_one(connection)
}

pub fn list_metadata(connection: &mut Conn) -> Result<Vec<SignedListMetadata>, StoreError> {
    status_list_tokens::table.select(SignedListMetadata::as_select()).load_all(connection)
}

/// Returns the version of the build that last signed each list.
pub fn list_versions(connection: &mut Conn) -> Result<Vec<(StatusListId, i64)>, StoreError> {
    status_list_tokens::table.select((status_list_tokens::list_id, status_list_tokens::version)).load_all(connection)
}

/// The signed list that is served to verifiers.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = status_list_tokens)]
pub struct ServedList {
    pub jwt: String,
    pub version: i64,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Returns a list as it was last signed.
pub fn find(connection: &mut Conn, list: &StatusListId) -> Result<Option<ServedList>, StoreError> {
    status_list_tokens::table.find(list).select(ServedList::as_select()).load_first(connection)
}

/// Writes the lists that were built from the state `before`. Returns `false` and writes nothing if
/// another build was written since. A list that was deleted in the meantime is not created again.
pub fn write(
    tx: &mut Tx<'_>,
    before: &BuildState,
    event_cursor: i64,
    next_expiration: Option<Timestamp>,
    signed: &[SignedList],
) -> Result<bool, StoreError> {
    let version = before.version + 1;
    let still = status_list_build::table.find(1).filter(status_list_build::version.eq(before.version));
    let moved = diesel::update(still)
        .set((
            status_list_build::event_cursor.eq(event_cursor),
            status_list_build::next_expiration_at.eq(next_expiration),
            status_list_build::version.eq(version),
            // This number was read before the tokens. Tokens revoked since then may or may not be
            // included, and require another build.
            status_list_build::included_revoked_token_count.eq(before.revoked_token_count),
        ))
        .count_affected(tx)?;
    if moved == 0 {
        return Ok(false);
    }
    for SignedList { info, jwt } in signed {
        let values = (
            status_list_tokens::jwt.eq(jwt),
            status_list_tokens::kid.eq(&info.kid),
            status_list_tokens::content_digest.eq(&info.content_digest),
            status_list_tokens::issued_at.eq(info.issued_at),
            status_list_tokens::expires_at.eq(info.expires_at),
            status_list_tokens::version.eq(version),
        );
        let row = status_list_tokens::table.find(&info.list);
        if diesel::update(row).set(values).count_affected(tx)? == 0 && status_lists::lock_list(tx, &info.list)? {
            diesel::insert_into(status_list_tokens::table)
                .values((status_list_tokens::list_id.eq(&info.list), values))
                .execute_in(tx)?;
        }
    }
    Ok(true)
}
