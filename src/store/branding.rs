//! How the hosted pages look: one row.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::domain::branding::Branding;

use super::{change::Tx, connection::Conn, error::StoreError, schema::branding};

/// With its version.
///
/// # Errors
/// The database does not answer, or holds what it should not.
pub fn read(connection: &mut Conn) -> Result<(Branding, i64), StoreError> {
    let (body, version): (String, i64) =
        branding::table.find(1).select((branding::body, branding::version)).first(connection)?;
    let body = serde_json::from_str(&body).map_err(|error| StoreError::Corrupt(format!("branding: {error}")))?;
    Ok((body, version))
}

/// As `read`; no other change can touch it until this one ends.
///
/// # Errors
/// As `read`.
pub fn read_for_change(tx: &mut Tx<'_>) -> Result<(Branding, i64), StoreError> {
    // It locks the row on both databases.
    diesel::update(branding::table.find(1)).set(branding::version.eq(branding::version)).execute(&mut **tx)?;
    read(tx)
}

/// # Errors
/// The database does not answer.
pub fn write(tx: &mut Tx<'_>, new: &Branding, version: i64) -> Result<(), StoreError> {
    let body = serde_json::to_string(new).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    diesel::update(branding::table.find(1))
        .set((branding::body.eq(body), branding::version.eq(version)))
        .execute(&mut **tx)?;
    Ok(())
}
