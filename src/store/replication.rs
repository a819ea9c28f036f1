//! The PostgreSQL server and its standbys, for the rollback guard and `doctor`. SQLite has neither.

use crate::store::{
    connection::Conn,
    dialect::server::{self, Replication},
    error::StoreError,
};

/// Returns the identifier that `initdb` gave to the cluster, which a copy of the data in another
/// cluster does not have. Absent if the role may not read it.
pub fn read_system_id(connection: &mut Conn) -> Result<Option<String>, StoreError> {
    match connection {
        Conn::Sqlite(_) => Ok(None),
        Conn::Postgres(inner) => Ok(server::read_system_id(inner)?.map(|id| id.cast_unsigned().to_string())),
    }
}

/// Returns the timeline of the server. Absent if the role may not read it.
pub fn read_timeline(connection: &mut Conn) -> Result<Option<u32>, StoreError> {
    match connection {
        Conn::Sqlite(_) => Ok(None),
        Conn::Postgres(inner) => Ok(server::read_timeline(inner)?),
    }
}

/// Returns how changes reach the standbys.
pub fn read_replication(connection: &mut Conn) -> Result<Option<Replication>, StoreError> {
    match connection {
        Conn::Sqlite(_) => Ok(None),
        Conn::Postgres(inner) => Ok(Some(server::read_replication(inner)?)),
    }
}
