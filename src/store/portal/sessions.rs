//! Portal sessions.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        access::{owner::OwnerScope, permission::PermissionSet, policy::GrantablePermissions},
        common::{derived_id::PortalSessionId, time::Timestamp},
        events::ActorRef,
        portal::session::{PortalSession, PortalSessionKind},
    },
    store::{
        error::StoreError,
        pool::Conn,
        rows::{selectable, values},
        schema::portal_sessions,
        transaction::Tx,
    },
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
    id: PortalSessionId;
    kind: PortalSessionKind;
    home: OwnerScope = user_id, organization_id, generation_id;
    created_at: Timestamp;
    created_by: ActorRef;
    expires_at: Timestamp;
    grantable_permissions: GrantablePermissions;
});

pub fn insert(tx: &mut Tx<'_>, stored: &StoredPortalSession) -> Result<(), StoreError> {
    let session = &stored.session;
    let (Some(user), Some(generation_id)) = (session.home.user(), session.home.generation_id()) else {
        return Err(StoreError::invalid_data("a portal session without an owner"));
    };
    diesel::insert_into(portal_sessions::table)
        .values(values!(portal_sessions, session =>
            id, encrypted_secret = stored.encrypted_secret.as_slice(), master_version = stored.master_version,
            user_id = user, organization_id = session.home.organization(), generation_id = generation_id,
            created_by, created_at, expires_at,
            grantable_permissions = listed_permissions(&session.grantable_permissions), kind,
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &PortalSessionId) -> Result<Option<StoredPortalSession>, StoreError> {
    Ok(portal_sessions::table.find(id).select(StoredPortalSession::as_select()).first(connection).optional()?)
}

/// Returns whether the session existed.
pub fn delete(tx: &mut Tx<'_>, id: &PortalSessionId) -> Result<bool, StoreError> {
    Ok(diesel::delete(portal_sessions::table.find(id)).execute(&mut **tx)? == 1)
}

fn listed_permissions(grantable: &GrantablePermissions) -> Option<&PermissionSet> {
    match grantable {
        GrantablePermissions::WholeCatalog => None,
        GrantablePermissions::Only(listed) => Some(listed),
    }
}
