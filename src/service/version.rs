//! `If-Match`: a change for the version that was read, and for no other.

use super::Error;

/// # Errors
/// `wanted` names another version than the one there is.
pub(super) fn require_version(version: i64, wanted: Option<i64>) -> Result<(), Error> {
    if wanted.is_some_and(|wanted| wanted != version) { Err(Error::VersionMismatch(version)) } else { Ok(()) }
}
