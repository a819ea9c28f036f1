//! Protection of the last administrator: a change over HTTP cannot shorten the time for which an
//! administrator exists, except as far as another one can be created in time. An operator with a
//! shell on the server is exempt, and can create an administrator.

use std::collections::BTreeSet;

use crate::{
    config::Settings,
    domain::{
        access::{
            owner::OwnerScope,
            permission::{PermissionName, PermissionSet},
            policy::ADMIN,
        },
        common::{
            id::KeyId,
            time::{Span, Timestamp},
        },
        credentials::api_key::{self, ApiKey, KeyState},
    },
    service::{Conflict, Error, caller::Caller},
    store::{self, Lock, Tx},
};

/// How long an administrator must remain after a change by an administrator, who can create another
/// one in this time.
const REMAINING_FOR_ADMINISTRATORS: Span = Span::from_secs(3600);

/// How long an administrator must remain after a change by any other caller. In this time
/// administrators learn of the end of the key that remains.
const REMAINING_FOR_OTHERS: Span = Span::from_secs(7 * 24 * 3600);

/// Runs a change of a key or a service client that has `permissions`. Returns `Error::Conflict` if
/// it had `keyswap:admin` and the change leaves no administrator for long enough. The error rolls
/// the change back.
pub(crate) fn keep_administrator<T>(
    tx: &mut Tx<'_>,
    caller: &Caller,
    settings: &Settings,
    permissions: &PermissionSet,
    change: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let admin = admin()?;
    if !permissions.contains(&admin) || tx.is_by_operator() {
        return change(tx);
    }
    tx.lock(Lock::Administrators)?;
    let before = administration_end(tx, settings, &BTreeSet::new())?;
    let changed = change(tx)?;
    require_remaining(tx, caller, settings, before, &BTreeSet::new())?;
    Ok(changed)
}

/// Returns `Error::Conflict` if an administrator does not remain for long enough once `keys` have
/// ended.
pub(crate) fn require_administrator_without(
    tx: &mut Tx<'_>,
    caller: &Caller,
    settings: &Settings,
    keys: &[&ApiKey],
) -> Result<(), Error> {
    let admin = admin()?;
    if tx.is_by_operator() || !keys.iter().any(|key| key.attributes.permissions.contains(&admin)) {
        return Ok(());
    }
    tx.lock(Lock::Administrators)?;
    let before = administration_end(tx, settings, &BTreeSet::new())?;
    require_remaining(tx, caller, settings, before, &keys.iter().map(|key| &key.id).collect())
}

/// Returns `keyswap:admin`.
pub(crate) fn admin() -> Result<PermissionName, Error> {
    ADMIN.parse().map_err(Error::internal)
}

/// Requires an administrator after a change by anyone, operators included. It is for changes that
/// remove an administrator that the operator did not name.
pub(crate) fn require_remaining_administrator(tx: &mut Tx<'_>, settings: &Settings) -> Result<(), Error> {
    tx.lock(Lock::Administrators)?;
    let required = tx.now().plus(within_lifetime(settings, REMAINING_FOR_ADMINISTRATORS));
    let end = administration_end(tx, settings, &BTreeSet::new())?;
    require_administration_until(required, end)
}

/// Requires an administrator for long enough without the keys `ended`. `before` is the end of the
/// administration before the change: a change that does not shorten it is never refused.
fn require_remaining(
    tx: &mut Tx<'_>,
    caller: &Caller,
    settings: &Settings,
    before: Option<Timestamp>,
    ended: &BTreeSet<&KeyId>,
) -> Result<(), Error> {
    let Some(before) = before else { return Ok(()) };
    let is_administrator = caller.holdings.can_grant(&admin()?);
    let remaining = if is_administrator { REMAINING_FOR_ADMINISTRATORS } else { REMAINING_FOR_OTHERS };
    let required = tx.now().plus(within_lifetime(settings, remaining));
    let end = administration_end(tx, settings, ended)?;
    require_administration_until(before.min(required), end)
}

/// Limits `remaining` to half of the maximum lifetime of keys. No new key could last longer than
/// the maximum lifetime, and a key of this lifetime must suffice for some time after its creation.
fn within_lifetime(settings: &Settings, remaining: Span) -> Span {
    settings.api_keys.max_lifetime.map_or(remaining, |longest| remaining.min(Span::from(longest.duration() / 2)))
}

fn require_administration_until(required: Timestamp, end: Option<Timestamp>) -> Result<(), Error> {
    match end {
        Some(end) if end >= required => Ok(()),
        Some(end) => Err(Conflict::LastAdministratorExpires { end, required }.into()),
        None => Err(Conflict::LastAdministrator.into()),
    }
}

/// Returns the end of the key that administrates the longest, without the keys `ended`; `None` if
/// there is none. Only keys whose service client belongs to the account count: a caller with
/// `keyswap:directory` can block or delete every other owner.
fn administration_end(
    tx: &mut Tx<'_>,
    settings: &Settings,
    ended: &BTreeSet<&KeyId>,
) -> Result<Option<Timestamp>, Error> {
    let (admin, now) = (admin()?, tx.now());
    let keys = store::api_keys::keys::find_service_client_keys_with_permission(tx, &admin, now)?;
    let is_administrator = |key: &&ApiKey| {
        let status = key.ownership.owner_status(settings.limits.end_with_creator);
        let attributes = &key.attributes;
        !ended.contains(&key.id)
            && key.ownership.owner_scope == OwnerScope::Account
            && attributes.audiences.as_ref().is_none_or(|all| all.contains(&settings.management_audience))
            && attributes.permissions.contains(&admin)
            && api_key::state(&key.lifecycle(), &status, now).0 == KeyState::Active
    };
    let ends = keys.iter().filter(is_administrator).map(|key| key.attributes.expires_at.unwrap_or(Timestamp::MAX));
    Ok(ends.max())
}
