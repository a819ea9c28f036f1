//! Portal sessions.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper};

use crate::{
    domain::{
        access::policy::GrantablePermissions,
        common::{derived_id::PortalSessionId, time::Timestamp},
        events::ActorRef,
        portal::session::PortalSession,
    },
    store::{
        api_keys::owner_status::home_of,
        columns::{parsed, permission_set},
        error::StoreError,
        pool::Conn,
        schema::portal_sessions,
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = portal_sessions)]
struct Row {
    id: String,
    encrypted_secret: Vec<u8>,
    master_version: i32,
    user_id: String,
    organization_id: Option<String>,
    generation_id: String,
    created_by: String,
    created_at: i64,
    expires_at: i64,
    grantable_permissions: Option<String>,
    kind: String,
}

/// A session, and the encrypted value that its token is verified against.
#[derive(Debug)]
pub struct StoredPortalSession {
    pub session: PortalSession,
    pub encrypted_secret: Vec<u8>,
    pub master_version: i32,
}

pub fn insert(tx: &mut Tx<'_>, stored: &StoredPortalSession) -> Result<(), StoreError> {
    let session = &stored.session;
    let (Some(user), Some(generation_id)) = (session.home.user(), session.home.generation_id()) else {
        return Err(StoreError::InvalidData("a portal session of nobody".to_owned()));
    };
    diesel::insert_into(portal_sessions::table)
        .values((
            portal_sessions::id.eq(session.id.as_str()),
            portal_sessions::encrypted_secret.eq(stored.encrypted_secret.as_slice()),
            portal_sessions::master_version.eq(stored.master_version),
            portal_sessions::user_id.eq(user.as_str()),
            portal_sessions::organization_id.eq(session.home.organization().map(|id| id.as_str())),
            portal_sessions::generation_id.eq(generation_id.as_str()),
            portal_sessions::created_by.eq(session.created_by.to_stored()),
            portal_sessions::created_at.eq(session.created_at.millis()),
            portal_sessions::expires_at.eq(session.expires_at.millis()),
            portal_sessions::grantable_permissions.eq(grantable_permissions_column(&session.grantable_permissions)),
            portal_sessions::kind.eq(session.kind.as_str()),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &PortalSessionId) -> Result<Option<StoredPortalSession>, StoreError> {
    let row: Option<Row> =
        portal_sessions::table.find(id.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(stored).transpose()
}

/// Returns whether the session existed.
pub fn delete(tx: &mut Tx<'_>, id: &PortalSessionId) -> Result<bool, StoreError> {
    Ok(diesel::delete(portal_sessions::table.find(id.as_str())).execute(&mut **tx)? == 1)
}

fn grantable_permissions_column(grantable: &GrantablePermissions) -> Option<String> {
    match grantable {
        GrantablePermissions::WholeCatalog => None,
        GrantablePermissions::Listed(listed) => Some(listed.to_string()),
    }
}

fn stored(row: Row) -> Result<StoredPortalSession, StoreError> {
    let session = PortalSession {
        id: parsed("portal session id", &row.id)?,
        kind: parsed("kind of session", &row.kind)?,
        home: home_of(Some(&row.user_id), row.organization_id.as_deref(), Some(&row.generation_id))?,
        created_at: Timestamp::from_millis(row.created_at),
        created_by: ActorRef::from_stored(&row.created_by),
        expires_at: Timestamp::from_millis(row.expires_at),
        grantable_permissions: match &row.grantable_permissions {
            None => GrantablePermissions::WholeCatalog,
            Some(listed) => GrantablePermissions::Listed(permission_set(listed)?),
        },
    };
    Ok(StoredPortalSession { session, encrypted_secret: row.encrypted_secret, master_version: row.master_version })
}
