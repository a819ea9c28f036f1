//! Finds API keys for changes, within what the caller may see and end.

use crate::{
    domain::{
        access::{
            owner_status::Standing,
            policy::{Authority, Place, Rights, needed_over},
        },
        common::id::KeyId,
        credentials::api_key::{ApiKey, Reason},
        events::{EventKind, NewEvent},
    },
    service::{Error, Settings, api_keys::types::Shown, caller::Caller},
    store::{self, Tx},
};

pub(crate) const NOT_FOUND: Error = Error::NotFound("API key");

/// A refusal without which the holder of a key could outlive every limit that was set on it.
pub(crate) const NO_SELF_WIDENING: &str = "of another key (no key lifts its own limits)";

/// Loads and locks a key for a change that `right` allows. A key that the caller may not see is
/// reported as `Error::NotFound`.
pub(crate) fn found(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId, right: fn(Rights) -> bool) -> Result<ApiKey, Error> {
    let found = store::api_keys::keys::find_for_change(tx, id)?.filter(|key| key.archived_at.is_none());
    let key = found.ok_or(NOT_FOUND)?;
    let rights = caller.authority.over(&key.ownership.home);
    let gone = matches!(key.ownership.standing(false), Standing::Gone(_));
    if gone && caller.authority.place != Place::Everywhere {
        Err(NOT_FOUND)
    } else if right(rights) {
        Ok(key)
    } else if rights.see {
        Err(Error::Forbidden(needed_over(&key.ownership.home)))
    } else {
        Err(NOT_FOUND)
    }
}

/// Loads and locks a key until the transaction ends; `None` if the caller may not end it.
pub(crate) fn endable(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<Option<ApiKey>, Error> {
    match found(tx, caller, id, |rights| rights.end) {
        Ok(key) => Ok(Some(key)),
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Inside an organization, keys of a deleted owner are hidden: the owner's id may have been given
/// to someone else since.
pub(crate) fn is_hidden(authority: &Authority, shown: &Shown) -> bool {
    authority.place != Place::Everywhere && matches!(shown.reason, Some(Reason::Gone(_)))
}

pub(crate) fn key_event(kind: EventKind, key: &ApiKey) -> NewEvent {
    NewEvent::new(kind, &key.id).within(key.ownership.home.organization())
}

pub(crate) fn save(tx: &mut Tx<'_>, key: &mut ApiKey) -> Result<(), Error> {
    store::api_keys::keys::update(tx, key)?;
    key.version += 1;
    Ok(())
}

pub(crate) fn is_gone(key: &ApiKey, settings: &Settings) -> bool {
    matches!(key.ownership.standing(settings.limits.ends_with_creator), Standing::Gone(_))
}

pub(crate) fn refuse_revoked(key: &ApiKey, settings: &Settings) -> Result<(), Error> {
    if key.life.revoked_at.is_some() || is_gone(key, settings) {
        return Err(Error::Conflict("the key is revoked, for good: make a new one".to_owned()));
    }
    Ok(())
}
