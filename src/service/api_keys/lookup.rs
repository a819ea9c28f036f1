//! Finds API keys for changes, within what the caller may see and end.

use crate::{
    domain::{
        access::{
            owner_status::OwnerStatus,
            policy::{CallerPermissions, ObjectRights, TenantScope, required_management_permission},
        },
        common::id::KeyId,
        credentials::api_key::{ApiKey, StateReason},
        events::{EventType, NewEvent},
    },
    service::{Error, Settings, api_keys::types::Shown, caller::Caller},
    store::{self, Tx},
};

pub(crate) const NOT_FOUND: Error = Error::NotFound("API key");

/// Loads and locks a key for a change that `right` allows. A key that the caller may not see is
/// reported as `Error::NotFound`.
pub(crate) fn found(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: &KeyId,
    right: fn(ObjectRights) -> bool,
) -> Result<ApiKey, Error> {
    let found = store::api_keys::keys::find_for_change(tx, id)?.filter(|key| key.archived_at.is_none());
    let key = found.ok_or(NOT_FOUND)?;
    let rights = caller.authority.rights_on(&key.ownership.home);
    let gone = matches!(key.ownership.root_owner_status(false), OwnerStatus::Deleted(_));
    if gone && caller.authority.tenant_scope != TenantScope::Deployment {
        Err(NOT_FOUND)
    } else if right(rights) {
        Ok(key)
    } else if rights.read {
        Err(Error::Forbidden(required_management_permission(&key.ownership.home)))
    } else {
        Err(NOT_FOUND)
    }
}

/// Loads and locks a key until the transaction ends; `None` if the caller may not end it.
pub(crate) fn lock_key_to_end(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<Option<ApiKey>, Error> {
    match found(tx, caller, id, |rights| rights.end) {
        Ok(key) => Ok(Some(key)),
        Err(Error::NotFound(_) | Error::Forbidden(_) | Error::NotAllowed(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Inside an organization, keys of a deleted owner are hidden: the owner's id may have been given
/// to someone else since.
pub(crate) fn is_hidden_from(authority: &CallerPermissions, shown: &Shown) -> bool {
    authority.tenant_scope != TenantScope::Deployment && matches!(shown.reason, Some(StateReason::Deleted(_)))
}

pub(crate) fn key_event(kind: EventType, key: &ApiKey) -> NewEvent {
    NewEvent::new(kind, &key.id).with_organization(key.ownership.home.organization())
}

pub(crate) fn save(tx: &mut Tx<'_>, key: &mut ApiKey) -> Result<(), Error> {
    store::api_keys::keys::update(tx, key)?;
    key.version += 1;
    Ok(())
}

pub(crate) fn is_owner_deleted(key: &ApiKey, settings: &Settings) -> bool {
    matches!(key.ownership.root_owner_status(settings.limits.end_with_creator), OwnerStatus::Deleted(_))
}

pub(crate) fn require_not_revoked(key: &ApiKey, settings: &Settings) -> Result<(), Error> {
    if key.lifecycle.revoked_at.is_some() || is_owner_deleted(key, settings) {
        return Err(Error::Conflict("the key is revoked, for good: make a new one".to_owned()));
    }
    Ok(())
}
