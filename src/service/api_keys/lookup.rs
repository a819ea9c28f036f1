//! Loads API keys, within what the caller may see, change and end.

use crate::{
    config::Settings,
    domain::{
        access::{owner_status::OwnerStatus, policy::ObjectRight},
        common::{id::KeyId, time::Timestamp},
        credentials::api_key::ApiKey,
        events::{EventType, NewEvent},
    },
    service::{Conflict, Error, access::visibility::authorize, caller::Caller},
    store::{self, Conn, Tx, api_keys::authentication},
};

/// Loads a key that the caller may see. `archived` selects among deleted keys instead of existing
/// ones.
pub(crate) fn find_key(
    connection: &mut Conn,
    caller: &Caller,
    id: &KeyId,
    archived: bool,
    now: Timestamp,
) -> Result<ApiKey, Error> {
    let found = store::api_keys::keys::find(connection, id, now)?;
    authorize(connection, caller, found.filter(|key| archived == key.archived_at.is_some()), ObjectRight::Read)
}

/// Loads and locks a key for a change that needs `right`.
pub(crate) fn lock_key(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId, right: ObjectRight) -> Result<ApiKey, Error> {
    let found = store::api_keys::keys::find_for_change(tx, id)?;
    authorize(tx, caller, found.filter(|key| key.archived_at.is_none()), right)
}

/// Like `lock_key`, to revoke or delete the key, which must not depend on its newest row: an older
/// one that was put back becomes the newest one, if the caller may end the key. A suspension could
/// be undone, and does not.
pub(crate) fn lock_key_to_revoke(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<ApiKey, Error> {
    match lock_key(tx, caller, id, ObjectRight::End) {
        Err(Error::Conflict(Conflict::RowOlder { .. })) => {}
        locked => return locked,
    }
    let now = tx.now();
    let found = store::api_keys::keys::find(tx, id, now)?;
    authorize(tx, caller, found.filter(|key| key.archived_at.is_none()), ObjectRight::End)?;
    authentication::make_newest(tx, id)?;
    lock_key(tx, caller, id, ObjectRight::End)
}

/// Loads and locks a key until the transaction ends; `None` if the caller may not end it.
pub(crate) fn lock_key_for_end(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<Option<ApiKey>, Error> {
    match lock_key_to_revoke(tx, caller, id) {
        Ok(key) => Ok(Some(key)),
        Err(Error::NotFound(_) | Error::Forbidden(_) | Error::NotAllowed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn key_event(kind: EventType, key: &ApiKey) -> NewEvent {
    NewEvent::new(kind, &key.id).with_organization(key.ownership.owner_scope.organization())
}

pub(crate) fn save(tx: &mut Tx<'_>, key: &mut ApiKey) -> Result<(), Error> {
    store::api_keys::keys::update(tx, key)?;
    key.version += 1;
    Ok(())
}

pub(crate) fn is_owner_deleted(key: &ApiKey, settings: &Settings) -> bool {
    matches!(key.ownership.owner_status(settings.limits.end_with_creator), OwnerStatus::Deleted(_))
}

pub(crate) fn require_not_revoked(key: &ApiKey, settings: &Settings) -> Result<(), Error> {
    if key.revoked_at.is_some() || is_owner_deleted(key, settings) {
        return Err(Error::Conflict(Conflict::KeyRevoked));
    }
    Ok(())
}
