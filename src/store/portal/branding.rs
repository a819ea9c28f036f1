//! The branding of the hosted pages, stored as one row.

use crate::{
    domain::portal::branding::Branding,
    store::{column_types::Json, prelude::*, schema::branding},
};

/// Returns the branding and its version.
pub fn read(connection: &mut Conn) -> Result<(Branding, i64), StoreError> {
    let (Json(body), version) =
        branding::table.find(1).select((branding::body, branding::version)).load_one(connection)?;
    Ok((body, version))
}

/// Like `read`, but locks the row until the end of the change.
pub fn read_branding_for_update(tx: &mut Tx<'_>) -> Result<(Branding, i64), StoreError> {
    lock_row!(tx, branding, 1);
    read(tx)
}

pub fn write(tx: &mut Tx<'_>, new: &Branding, version: i64) -> Result<(), StoreError> {
    diesel::update(branding::table.find(1))
        .set((branding::body.eq(Json(new.clone())), branding::version.eq(version)))
        .execute_in(tx)
}
