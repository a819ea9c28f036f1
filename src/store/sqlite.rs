//! The version and the effective settings of SQLite.

use diesel::{
    RunQueryDsl,
    dsl::sql,
    sql_types::{Integer, Text},
};

use crate::store::{
    connection::Conn,
    error::{OpenError, StoreError},
};

/// The minimum version of SQLite. In earlier versions two connections that write can corrupt the
/// write-ahead log.
const MIN_SQLITE_VERSION: (u32, u32, u32) = (3, 51, 3);

pub fn require_supported_sqlite(connection: &mut Conn) -> Result<(), OpenError> {
    let Conn::Sqlite(_) = connection else { return Ok(()) };
    let version =
        read_sqlite_version(connection).map_err(|error| OpenError::UnsupportedSqliteVersion(error.to_string()))?;
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < MIN_SQLITE_VERSION {
        Err(OpenError::UnsupportedSqliteVersion(version))
    } else {
        Ok(())
    }
}

fn read_sqlite_version(connection: &mut Conn) -> Result<String, StoreError> {
    Ok(sql::<Text>("SELECT sqlite_version()").get_result(connection)?)
}

/// The effective settings of SQLite on a pooled connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    pub version: String,
    pub journal_mode: String,
    /// 2 means FULL.
    pub synchronous: i32,
    pub foreign_keys: i32,
}

/// Reads the settings of an SQLite connection. Fails on PostgreSQL.
pub fn read_sqlite_settings(connection: &mut Conn) -> Result<SqliteSettings, StoreError> {
    Ok(SqliteSettings {
        version: read_sqlite_version(connection)?,
        journal_mode: sql::<Text>("SELECT journal_mode FROM pragma_journal_mode").get_result(connection)?,
        synchronous: sql::<Integer>("SELECT synchronous FROM pragma_synchronous").get_result(connection)?,
        foreign_keys: sql::<Integer>("SELECT foreign_keys FROM pragma_foreign_keys").get_result(connection)?,
    })
}
