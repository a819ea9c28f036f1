//! When each credential was last used.

use crate::domain::{id::CredentialId, time::Timestamp};

use super::{change::Tx, dialect, error::StoreError};

/// Writes many last-used times at once; a time never moves back. Each credential is there once.
///
/// # Errors
/// The database does not answer.
pub fn note(tx: &mut Tx<'_>, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    if used.is_empty() { Ok(()) } else { dialect::note_uses(tx, used) }
}
