//! A deployment is never left without an administrator: the last key that holds `keyswap:admin` cannot be taken away over HTTP. Who has a
//! shell on the server may, and can make another.

use crate::{
    domain::{
        api_key::{self, ApiKey, State},
        permission::PermissionName,
        policy::ADMIN,
        time::Span,
    },
    store::{self, Tx},
};

use super::{Error, Settings};

/// The lock under which administrators are counted: two who remove each other at once must not both succeed.
const LOCK: i64 = 0x006b_6579_7377_0003;

/// A key that ends before this is no administrator to rely on.
const SOON: Span = Span::from_secs(3600);

/// Refuses a change after which no administrator would be left, where `before` was one.
///
/// # Errors
/// `Conflict`; the change is taken back with it.
pub(super) fn require_one(tx: &mut Tx<'_>, before: &ApiKey, settings: &Settings) -> Result<(), Error> {
    let admin: PermissionName = ADMIN.parse().map_err(|error| Error::Internal(format!("{ADMIN}: {error}")))?;
    if !before.permissions.contains(&admin) { Ok(()) } else { require_any(tx, &admin, settings) }
}

/// As `require_one`, where something else than a key was changed.
///
/// # Errors
/// As `require_one`.
pub(super) fn require_any(tx: &mut Tx<'_>, admin: &PermissionName, settings: &Settings) -> Result<(), Error> {
    if tx.is_by_operator() { Ok(()) } else { require_left(tx, admin, settings) }
}

/// As `require_any`, for operators as well: what was taken away was not named by them.
///
/// # Errors
/// As `require_one`.
pub(super) fn require_left(tx: &mut Tx<'_>, admin: &PermissionName, settings: &Settings) -> Result<(), Error> {
    store::lock(tx, LOCK)?;
    let now = tx.now();
    let keys = store::api_keys::of_clients_holding(tx, admin, now)?;
    let works = |key: &ApiKey| {
        let standing = key.ownership.standing(settings.limits.ends_with_creator);
        let reaches = key.audiences.as_ref().is_none_or(|all| all.contains(&settings.management_audience));
        let stays = key.life.expires_at.is_none_or(|end| end > now.after(SOON));
        reaches
            && stays
            && key.permissions.contains(admin)
            && api_key::state(&key.life, &standing, now).0 == State::Active
    };
    if keys.iter().any(works) {
        Ok(())
    } else {
        Err(Error::Conflict(
            "this would leave no administrator: make another key with keyswap:admin first, or use the command line on the server"
                .to_owned(),
        ))
    }
}
