//! The last-used time of each credential.

use crate::{
    domain::common::{derived_id::CredentialId, time::Timestamp},
    store::{dialect::bulk, prelude::*},
};

/// Writes many last-used times at once. A stored time is never replaced by an earlier one. `used`
/// must contain each credential at most once.
pub fn upsert_last_used_times(tx: &mut Tx<'_>, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    if used.is_empty() { Ok(()) } else { bulk::upsert_last_used_times(tx, used) }
}
