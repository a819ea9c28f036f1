//! Branding of the hosted pages.

use crate::{
    domain::{
        common::preconditions::{Preconditions, StoredObject},
        events::{EventType, NewEvent},
        portal::branding::Branding,
    },
    service::{Error, Services, caller::Caller},
    store::{self, NoEvent, Outcome},
};

/// Subject of branding events. A deployment has a single branding.
const EVENT_SUBJECT: &str = "portal";

/// Returns the branding and its version.
pub async fn get(services: &Services) -> Result<(Branding, i64), Error> {
    Ok(services.store.read(store::portal::branding::read).await?)
}

/// Replaces the whole branding. Members that are left out get the default appearance. An identical
/// branding changes nothing and appends no event.
pub async fn put(
    services: &Services,
    caller: &Caller,
    branding: Branding,
    preconditions: Preconditions,
) -> Result<(Branding, i64), Error> {
    services
        .change(caller, move |tx, _| {
            let (before, version) = store::portal::branding::read_branding_for_update(tx)?;
            preconditions.check(StoredObject::Version(version))?;
            if before == branding {
                return Ok(Outcome::without_event((branding, version), NoEvent::Unchanged));
            }
            store::portal::branding::write(tx, &branding, version + 1)?;
            let event = NewEvent::new(EventType::BrandingUpdated, EVENT_SUBJECT);
            Ok(Outcome::event((branding, version + 1), event))
        })
        .await
}
