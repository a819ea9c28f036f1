//! The copy of an SQLite database.

use std::path::Path;

use diesel::{connection::SimpleConnection as _, dsl::sql, prelude::*, sql_types::Text};

use crate::store::{backup::error::BackupError, error::OpenError, schema::event_chain_head};

/// Copies the database into the empty file `path`, checks the copy, and returns the number of its
/// last event. The statement reads in one transaction, which blocks no writer.
pub fn copy(source: &mut SqliteConnection, path: &Path) -> Result<i64, BackupError> {
    let name = path.to_str().ok_or_else(|| BackupError::NotUnicode(path.to_owned()))?;
    source.batch_execute(&format!("VACUUM INTO '{}'", name.replace('\'', "''"))).map_err(BackupError::Copy)?;
    let mut copy = SqliteConnection::establish(name).map_err(OpenError::Connect)?;
    let results: Vec<String> = sql::<Text>("SELECT integrity_check FROM pragma_integrity_check").load(&mut copy)?;
    match results.first().map(String::as_str) {
        Some("ok") => Ok(event_chain_head::table.select(event_chain_head::seq).first(&mut copy)?),
        fault => Err(BackupError::CorruptCopy(fault.unwrap_or("no result of the check").to_owned())),
    }
}
