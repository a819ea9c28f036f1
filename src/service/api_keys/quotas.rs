//! Quotas of keys: how many keys that are neither revoked nor expired an owner and an organization
//! may have. They hold for every caller, also for imports.

use crate::{
    config::sections::Quotas,
    domain::{
        access::{
            owner::{Owner, OwnerScope},
            policy::ObjectRight,
        },
        common::id::KeyId,
        credentials::api_key::ApiKey,
    },
    service::{Error, access::visibility::authorize, caller::Caller, common::quota::ExceededQuota},
    store::{self, StoreError, Tx, api_keys::key_counts},
};

/// Requires that the owner and the organization may have one more key. The caller has locked both
/// rows (`owner::resolve_requested_owner`), so that no other key is counted at the same time.
pub(super) fn require_key_quota(
    tx: &mut Tx<'_>,
    quotas: &Quotas,
    owner: &Owner,
    owner_scope: &OwnerScope,
) -> Result<(), Error> {
    require_room(tx, quotas, owner, owner_scope, 0)
}

/// Like `require_key_quota`, for a key that gets a later expiration. The caller has locked both
/// rows (`lock_owner_of_key`).
///
/// A key that is not expired is counted already. It must be within the limits nevertheless: `now`
/// is the time at which the transaction began, and a transaction that began later may have found
/// the key expired and created another one instead.
pub(super) fn require_key_quota_of_existing(tx: &mut Tx<'_>, quotas: &Quotas, key: &ApiKey) -> Result<(), Error> {
    let counted = u32::from(!key.lifecycle().is_expired(tx.now()));
    require_room(tx, quotas, &key.ownership.owner, &key.ownership.owner_scope, counted)
}

/// Requires that a further key may exist, of which `counted` (0 or 1) is counted already.
fn require_room(
    tx: &mut Tx<'_>,
    quotas: &Quotas,
    owner: &Owner,
    owner_scope: &OwnerScope,
    counted: u32,
) -> Result<(), Error> {
    let max = quotas.keys_per_owner;
    if max > 0 && key_counts::owner_has_at_least(tx, owner, owner_scope, max + counted)? {
        return Err(ExceededQuota::KeysPerOwner(max).into());
    }
    let max = quotas.keys_per_organization;
    if let Some(organization) = owner_scope.organization()
        && max > 0
        && key_counts::organization_has_at_least(tx, organization, max + counted)?
    {
        return Err(ExceededQuota::KeysPerOrganization(max).into());
    }
    Ok(())
}

/// Locks the owner of a key whose expiration changes, before the key itself is locked: a later
/// expiration makes the key count for longer. Faults are ignored here, because they are found again
/// when the key is locked.
pub(super) fn lock_owner_of_key(tx: &mut Tx<'_>, caller: &Caller, id: &KeyId) -> Result<(), Error> {
    let now = tx.now();
    let found = store::api_keys::keys::find(tx, id, now)?;
    match authorize(tx, caller, found, ObjectRight::Change) {
        Ok(key) => Ok(lock_owner(tx, &key.ownership.owner, &key.ownership.owner_scope)?),
        Err(Error::NotFound(_) | Error::Forbidden(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Locks the row under which the keys of an owner are counted. The row of the organization is
/// enough for all owners within it, and that of the user for the service clients of the user.
fn lock_owner(tx: &mut Tx<'_>, owner: &Owner, owner_scope: &OwnerScope) -> Result<(), StoreError> {
    if let Some(organization) = owner_scope.organization() {
        store::directory::organizations::find_for_change(tx, organization)?;
    } else if let Some(user) = owner_scope.user() {
        store::directory::users::find_for_change(tx, user)?;
    } else if let Owner::ServiceClient(id) = owner {
        store::api_keys::service_clients::find_for_change(tx, id)?;
    }
    Ok(())
}
