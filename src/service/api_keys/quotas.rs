//! Quotas of keys: how many keys that are neither revoked nor expired an owner and an organization
//! may have. They hold for every caller, also for imports.

use crate::{
    config::sections::Quotas,
    domain::{
        access::{
            owner::{Owner, OwnerScope},
            policy::ObjectRight,
        },
        common::{id::KeyId, time::Timestamp},
        credentials::api_key::ApiKey,
    },
    service::{Error, access::visibility::authorize, caller::Caller, common::quota::ExceededQuota},
    store::{self, StoreError, Tx, api_keys::key_counts},
};

/// Requires that the owner and the organization may have one more key. Both rows are locked, by
/// `resolve_owner` or `lock_owner`, so that no other key is counted at the same time.
pub(super) fn require_room(
    tx: &mut Tx<'_>,
    quotas: &Quotas,
    owner: &Owner,
    owner_scope: &OwnerScope,
) -> Result<(), Error> {
    let max = quotas.keys_per_owner;
    if max > 0 && key_counts::owner_has_at_least(tx, owner, owner_scope, max)? {
        return Err(ExceededQuota::KeysPerOwner(max).into());
    }
    let max = quotas.keys_per_organization;
    if let Some(organization) = owner_scope.organization()
        && max > 0
        && key_counts::organization_has_at_least(tx, organization, max)?
    {
        return Err(ExceededQuota::KeysPerOrganization(max).into());
    }
    Ok(())
}

/// Locks the owner of a key that is expired, before the key itself is locked: a later expiration
/// makes the key count again. Faults are ignored here, because they are found again when the key
/// is locked.
pub(super) fn lock_owner_of_expired(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<(), Error> {
    let now = tx.now();
    let found = store::api_keys::keys::find(tx, id, now)?;
    match authorize(tx, caller, found, ObjectRight::Change) {
        Ok(key) if is_expired(&key, now) => Ok(lock_owner(tx, &key.ownership.owner, &key.ownership.owner_scope)?),
        Ok(_) | Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn is_expired(key: &ApiKey, now: Timestamp) -> bool {
    key.attributes.expires_at.is_some_and(|end| end <= now)
}

/// Locks the rows under which the keys of an owner are counted. The row of the organization is
/// enough for all owners within it.
fn lock_owner(tx: &mut Tx<'_>, owner: &Owner, owner_scope: &OwnerScope) -> Result<(), StoreError> {
    match (owner_scope.organization(), owner) {
        (Some(organization), _) => {
            store::directory::organizations::find_for_change(tx, organization)?;
        }
        (None, Owner::User(id)) => {
            store::directory::users::find_for_change(tx, id)?;
        }
        (None, Owner::ServiceClient(id)) => {
            store::api_keys::service_clients::find_for_change(tx, id)?;
        }
        (None, Owner::Organization(_) | Owner::Unowned) => {}
    }
    Ok(())
}
