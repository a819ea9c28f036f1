//! How the hosted pages look.

use crate::{
    domain::{
        branding::Branding,
        event::{EventKind, NewEvent},
    },
    store::{self, Outcome},
};

use super::{App, Error, caller::Caller, version::require_version};

/// The subject of its events: there is one.
const SUBJECT: &str = "portal";

/// With its version.
///
/// # Errors
/// The database does not answer.
pub async fn get(app: &App) -> Result<(Branding, i64), Error> {
    Ok(app.store.read(store::branding::read).await?)
}

/// Puts it, whole: what is left out looks as Keyswap does. The same put again changes nothing.
///
/// # Errors
/// `if_version` names another version.
pub async fn put(
    app: &App,
    caller: &Caller,
    branding: Branding,
    if_version: Option<i64>,
) -> Result<(Branding, i64), Error> {
    app.store
        .change(caller.origin.clone(), move |tx| {
            let (before, version) = store::branding::read_for_change(tx)?;
            require_version(version, if_version)?;
            if before == branding {
                return Ok(Outcome::bookkeeping((branding.clone(), version)));
            }
            store::branding::write(tx, &branding, version + 1)?;
            let event = NewEvent::new(EventKind::BrandingUpdated, SUBJECT);
            Ok(Outcome::event((branding.clone(), version + 1), event))
        })
        .await
}
