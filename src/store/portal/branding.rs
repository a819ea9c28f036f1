//! The branding of the hosted pages, stored as one row.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};

use crate::{
    domain::portal::branding::Branding,
    store::{error::StoreError, pool::Conn, schema::branding, transaction::Tx},
};

/// Returns the branding and its version.
pub fn read(connection: &mut Conn) -> Result<(Branding, i64), StoreError> {
    let (body, version): (String, i64) =
        branding::table.find(1).select((branding::body, branding::version)).first(connection)?;
    let body = serde_json::from_str(&body).map_err(|error| StoreError::InvalidData(format!("branding: {error}")))?;
    Ok((body, version))
}

/// Like `read`, but locks the row until the end of the change.
pub fn read_branding_for_update(tx: &mut Tx<'_>) -> Result<(Branding, i64), StoreError> {
    // The update takes the row lock on both databases.
    diesel::update(branding::table.find(1)).set(branding::version.eq(branding::version)).execute(&mut **tx)?;
    read(tx)
}

pub fn write(tx: &mut Tx<'_>, new: &Branding, version: i64) -> Result<(), StoreError> {
    let body = serde_json::to_string(new).map_err(|error| StoreError::InvalidData(error.to_string()))?;
    diesel::update(branding::table.find(1))
        .set((branding::body.eq(body), branding::version.eq(version)))
        .execute(&mut **tx)?;
    Ok(())
}
