//! Rotation with overlap: the key keeps its id, and for a time two credentials prove it.

use crate::{
    domain::{event::EventKind, id::KeyId, time::Span},
    service::{App, Error, caller::Caller, version::require_version},
    store::{self, Outcome},
};

use super::{Maker, Shown, WithValue, found, key_event, limits::require_held, refuse_revoked, save};

/// The longest a replaced credential may go on working.
pub const MAX_GRACE: Span = Span::from_secs(90 * 24 * 3600);

/// Gives a key a new credential. The old one works until the grace has passed, so that nothing stops while clients change over.
///
/// # Errors
/// No such key, a revoked one, one whose earlier rotation has not ended, or one with permissions that the caller does not hold:
/// the answer carries the value, and with it all the key can do.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    id: KeyId,
    grace: Span,
    if_version: Option<i64>,
) -> Result<WithValue, Error> {
    if grace > MAX_GRACE {
        return Err(Error::invalid("grace", format!("may be {MAX_GRACE} at most")));
    }
    let (maker, settings) = (Maker::of(app), app.settings.clone());
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut key = found(tx, &caller, &id, |rights| rights.change)?;
            refuse_revoked(&key, &settings)?;
            require_version(key.version, if_version)?;
            require_held(&key, &caller.holdings)?;
            let ending = key.credentials.iter().filter_map(|credential| credential.expires_at).max();
            if let Some(end) = ending.filter(|_| grace > Span::ZERO) {
                return Err(Error::Conflict(format!(
                    "the rotation before this one ends at {end}; wait for it, or rotate with a grace of \"0s\", which ends \
                     every older credential at once"
                )));
            }
            let end = tx.now().after(grace);
            // In the order of their ids, as the flush of last-used times locks them.
            key.credentials.sort_by(|one, other| one.id.cmp(&other.id));
            for old in &mut key.credentials {
                store::api_keys::end_credential(tx, &old.id, Some(end))?;
                old.expires_at = Some(end);
            }
            let (new, value) = maker.credential(tx)?;
            store::api_keys::insert_credential(tx, &key.id, &new)?;
            if grace == Span::ZERO {
                key.credentials.clear();
            }
            key.credentials.insert(0, new.credential);
            save(tx, &mut key)?;
            let event = key_event(EventKind::ApiKeyRotated, &key).with("old_credential_ends_at", end.to_string());
            Ok(Outcome::event(WithValue { shown: Shown::new(key, tx.now(), &settings), value }, event))
        })
        .await
}
