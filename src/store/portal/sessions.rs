//! Portal sessions.

use crate::{
    domain::{
        access::{permission::PermissionSet, policy::GrantablePermissions},
        common::derived_id::PortalSessionId,
        portal::session::PortalSession,
    },
    store::{prelude::*, schema::portal_sessions},
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
    id, kind, owner_scope = (user_id, organization_id, generation_id), created_at, created_by, expires_at,
    grantable_permissions,
});

pub fn insert(tx: &mut Tx<'_>, stored: &StoredPortalSession) -> Result<(), StoreError> {
    let session = &stored.session;
    let (Some(user), Some(generation_id)) = (session.owner_scope.user(), session.owner_scope.generation_id()) else {
        return Err(StoreError::invalid_data("a portal session without an owner"));
    };
    diesel::insert_into(portal_sessions::table)
        .values(values!(portal_sessions, session =>
            id, encrypted_secret = stored.encrypted_secret.as_slice(), master_version = stored.master_version,
            user_id = user, organization_id = session.owner_scope.organization(), generation_id = generation_id,
            created_by, created_at, expires_at,
            grantable_permissions = listed_permissions(&session.grantable_permissions), kind,
        ))
        .execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &PortalSessionId) -> Result<Option<StoredPortalSession>, StoreError> {
    portal_sessions::table.find(id).select(StoredPortalSession::as_select()).load_first(connection)
}

/// Returns whether the session existed.
pub fn delete(tx: &mut Tx<'_>, id: &PortalSessionId) -> Result<bool, StoreError> {
    Ok(diesel::delete(portal_sessions::table.find(id)).count_affected(tx)? == 1)
}

fn listed_permissions(grantable: &GrantablePermissions) -> Option<&PermissionSet> {
    match grantable {
        GrantablePermissions::WholeCatalog => None,
        GrantablePermissions::Only(listed) => Some(listed),
    }
}
