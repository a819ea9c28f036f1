//! Portal sessions.

use std::collections::BTreeSet;

use crate::{
    domain::{
        common::{
            derived_id::PortalSessionId,
            encryption::Encrypted,
            id::GenerationId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        portal::session::{PortalSession, PortalSessionFilter, PortalSessionKind},
    },
    store::{prelude::*, row_encryption::AuthenticatedRow, schema::portal_sessions},
};

/// A session, and the encrypted value that its token is verified against.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = portal_sessions)]
pub struct StoredPortalSession {
    #[diesel(embed)]
    pub session: PortalSession,
    pub encrypted_secret: Vec<u8>,
    pub master_version: i32,
}

selectable!(portal_sessions => PortalSession {
    id, kind, parent_id, owner_scope = (user_id, organization_id, generation_id), opened_by, created_at, expires_at,
});

pub fn insert(tx: &mut Tx<'_>, stored: &StoredPortalSession) -> Result<(), StoreError> {
    let session = &stored.session;
    let (Some(user), Some(generation_id)) = (session.owner_scope.user(), session.owner_scope.generation_id()) else {
        return Err(StoreError::invalid_data("a portal session without an owner"));
    };
    tx.versions.insert(subject(&session.id), VERSION);
    diesel::insert_into(portal_sessions::table)
        .values(values!(portal_sessions, session =>
            id, kind, parent_id, encrypted_secret = stored.encrypted_secret.as_slice(), master_version = stored.master_version,
            user_id = user, organization_id = session.owner_scope.organization(), generation_id = generation_id,
            opened_by, created_at, expires_at,
        ))
        .execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &PortalSessionId) -> Result<Option<StoredPortalSession>, StoreError> {
    portal_sessions::table.find(id).select(StoredPortalSession::as_select()).load_first(connection)
}

/// Returns a page of the sessions that match `filter` and have not expired at `now`. The order is
/// that of the ids, which are random.
pub fn list(
    connection: &mut Conn,
    filter: &PortalSessionFilter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<PortalSession>, StoreError> {
    let mut query = portal_sessions::table
        .select(PortalSession::as_select())
        .filter(portal_sessions::expires_at.gt(now))
        .into_boxed();
    if let Some(user) = &filter.user {
        query = query.filter(portal_sessions::user_id.eq(user));
    }
    if let Some(organization) = &filter.organization {
        query = query.filter(portal_sessions::organization_id.eq(organization));
    }
    if let Some(key) = &filter.opened_by {
        query = query.filter(portal_sessions::opened_by.eq(key));
    }
    load_page!(connection, query, page, portal_sessions::id, gt, asc, |session: &PortalSession| session.id.to_string())
}

/// Returns a session with those that end with it, without those that have expired at `now`.
pub fn find_with_children(
    connection: &mut Conn,
    id: &PortalSessionId,
    now: Timestamp,
) -> Result<Vec<PortalSession>, StoreError> {
    portal_sessions::table
        .select(PortalSession::as_select())
        .filter(portal_sessions::id.eq(id).or(portal_sessions::parent_id.eq(id)))
        .filter(portal_sessions::expires_at.gt(now))
        .order(portal_sessions::id.asc())
        .load_all(connection)
}

/// Returns the sessions of kind `Token` of a user in one tenant scope that have not expired at
/// `now`, newest first: at most `limit`.
pub fn find_newest(
    connection: &mut Conn,
    owner: &GenerationId,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<PortalSessionId>, StoreError> {
    portal_sessions::table
        .filter(portal_sessions::generation_id.eq(owner))
        .filter(portal_sessions::kind.eq(PortalSessionKind::Token))
        .filter(portal_sessions::expires_at.gt(now))
        .order((portal_sessions::created_at.desc(), portal_sessions::id.desc()))
        .limit(limit)
        .select(portal_sessions::id)
        .load_all(connection)
}

/// Sessions do not change, so they have one version.
const VERSION: i64 = 1;

/// Returns the subject of the events of a session.
fn subject(id: &PortalSessionId) -> String {
    format!("portal_session:{id}")
}

/// Locks a session and its parent, in the order in which sessions are ended, until the transaction
/// ends. Returns whether both exist.
pub fn lock_with_parent(tx: &mut Tx<'_>, session: &PortalSession) -> Result<bool, StoreError> {
    let ids: BTreeSet<_> = session.parent_id.iter().chain([&session.id]).collect();
    for id in ids {
        tx.check_row_order("portal_sessions", id)?;
        // An update without effect locks the row.
        let row = diesel::update(portal_sessions::table.find(id));
        if row.set(portal_sessions::expires_at.eq(portal_sessions::expires_at)).count_affected(tx)? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether the session existed.
pub fn delete(tx: &mut Tx<'_>, id: &PortalSessionId) -> Result<bool, StoreError> {
    tx.versions.insert(subject(id), VERSION + 1);
    Ok(diesel::delete(portal_sessions::table.find(id)).count_affected(tx)? == 1)
}

/// Returns sessions with these ids, to be checked.
pub fn find_to_check(connection: &mut Conn, ids: &[String]) -> Result<Vec<AuthenticatedRow>, StoreError> {
    let found: Vec<StoredPortalSession> = portal_sessions::table
        .filter(portal_sessions::id.eq_any(ids))
        .select(StoredPortalSession::as_select())
        .load_all(connection)?;
    let to_check = |stored: StoredPortalSession| AuthenticatedRow {
        id: stored.session.id.to_string(),
        encoded: stored.session.encode(),
        encrypted: Encrypted { master_version: stored.master_version, bytes: stored.encrypted_secret },
        subject: subject(&stored.session.id),
        version: VERSION,
    };
    Ok(found.into_iter().map(to_check).collect())
}
