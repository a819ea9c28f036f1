//! Protection of the last administrator: the last key that holds `keyswap:admin` cannot be disabled
//! over HTTP. An operator with a shell on the server can disable it, and can create another one.

use crate::{
    config::Settings,
    domain::{
        access::{
            permission::{PermissionName, PermissionSet},
            policy::ADMIN,
        },
        common::time::Span,
        credentials::api_key::{self, ApiKey, KeyState},
    },
    service::{Conflict, Error},
    store::{self, Lock, Tx},
};

/// A key that expires within this time does not count as an administrator.
const MIN_REMAINING_LIFETIME: Span = Span::from_secs(3600);

/// Returns `Conflict::LastAdministrator` if the changed key or service client had `keyswap:admin`
/// and the change leaves no administrator. The error rolls the change back. Changes by operators
/// are exempt.
pub(crate) fn require_administrator_after_change(
    tx: &mut Tx<'_>,
    permissions_before: &PermissionSet,
    settings: &Settings,
) -> Result<(), Error> {
    if permissions_before.contains(&admin()?) && !tx.is_by_operator() {
        require_remaining_administrator(tx, settings)
    } else {
        Ok(())
    }
}

/// Returns `keyswap:admin`.
pub(crate) fn admin() -> Result<PermissionName, Error> {
    ADMIN.parse().map_err(Error::internal)
}

/// Requires an administrator after a change by anyone, operators included. It is for changes that
/// remove an administrator that the operator did not name.
pub(crate) fn require_remaining_administrator(tx: &mut Tx<'_>, settings: &Settings) -> Result<(), Error> {
    let admin = admin()?;
    tx.lock(Lock::Administrators)?;
    let now = tx.now();
    let keys = store::api_keys::keys::find_service_client_keys_with_permission(tx, &admin, now)?;
    let is_administrator = |key: &ApiKey| {
        let status = key.ownership.root_owner_status(settings.limits.end_with_creator);
        let attributes = &key.attributes;
        attributes.audiences.as_ref().is_none_or(|all| all.contains(&settings.management_audience))
            && attributes.expires_at.is_none_or(|end| end > now.plus(MIN_REMAINING_LIFETIME))
            && attributes.permissions.contains(&admin)
            && api_key::state(&key.lifecycle(), &status, now).0 == KeyState::Active
    };
    if keys.iter().any(is_administrator) { Ok(()) } else { Err(Error::Conflict(Conflict::LastAdministrator)) }
}
