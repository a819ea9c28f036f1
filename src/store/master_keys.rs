//! The fingerprints of the master keys this database was sealed with.

use std::collections::BTreeMap;

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use super::{change::Tx, connection::Conn, error::StoreError, schema::master_keys};

/// # Errors
/// The database does not answer; `Conflict` when the version is there already.
pub fn insert(tx: &mut Tx<'_>, version: i32, fingerprint: &str) -> Result<(), StoreError> {
    let now = tx.now().millis();
    diesel::insert_into(master_keys::table)
        .values((
            master_keys::version.eq(version),
            master_keys::fingerprint.eq(fingerprint),
            master_keys::created_at.eq(now),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Version and fingerprint of each; empty on a new database.
///
/// # Errors
/// The database does not answer.
pub fn list(connection: &mut Conn) -> Result<BTreeMap<i32, String>, StoreError> {
    let rows: Vec<(i32, String)> =
        master_keys::table.select((master_keys::version, master_keys::fingerprint)).load(connection)?;
    Ok(rows.into_iter().collect())
}
