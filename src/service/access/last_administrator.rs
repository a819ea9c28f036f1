//! Protection of the last administrator: the last key that holds `keyswap:admin` cannot be disabled
//! over HTTP. An operator with a shell on the server can disable it, and can create another one.

use crate::{
    config::Settings,
    domain::{
        access::{permission::PermissionName, policy::ADMIN},
        common::time::Span,
        credentials::api_key::{self, ApiKey, KeyState},
    },
    service::{Conflict, Error},
    store::{self, Lock, Tx},
};

/// A key that expires within this time does not count as an administrator.
const MIN_REMAINING_LIFETIME: Span = Span::from_secs(3600);

/// Returns `Error::Conflict` if `before` holds `keyswap:admin` and the change leaves no
/// administrator. The error rolls the change back. Changes by operators are exempt.
pub(crate) fn require_administrator_after_key_change(
    tx: &mut Tx<'_>,
    before: &ApiKey,
    settings: &Settings,
) -> Result<(), Error> {
    let admin: PermissionName = ADMIN.parse().map_err(Error::internal)?;
    if !before.permissions.contains(&admin) { Ok(()) } else { require_administrator_after_change(tx, &admin, settings) }
}

/// Like `require_administrator_after_key_change`, for a change to an object other than a key.
pub(crate) fn require_administrator_after_change(
    tx: &mut Tx<'_>,
    admin: &PermissionName,
    settings: &Settings,
) -> Result<(), Error> {
    if tx.is_by_operator() { Ok(()) } else { require_remaining_administrator(tx, admin, settings) }
}

/// Like `require_administrator_after_change`, without the exemption for operators. It is for changes that remove an
/// administrator that the operator did not name.
pub(crate) fn require_remaining_administrator(
    tx: &mut Tx<'_>,
    admin: &PermissionName,
    settings: &Settings,
) -> Result<(), Error> {
    tx.lock(Lock::Administrators)?;
    let now = tx.now();
    let keys = store::api_keys::keys::find_service_client_keys_with_permission(tx, admin, now)?;
    let works = |key: &ApiKey| {
        let standing = key.ownership.root_owner_status(settings.limits.end_with_creator);
        let reaches = key.audiences.as_ref().is_none_or(|all| all.contains(&settings.management_audience));
        let stays = key.lifecycle.expires_at.is_none_or(|end| end > now.plus(MIN_REMAINING_LIFETIME));
        reaches
            && stays
            && key.permissions.contains(admin)
            && api_key::state(&key.lifecycle, &standing, now).0 == KeyState::Active
    };
    if keys.iter().any(works) { Ok(()) } else { Err(Conflict::LastAdministrator.into()) }
}
