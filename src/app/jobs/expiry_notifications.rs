//! Writes events for keys that end without a request: keys of deleted owners, and keys that expire.

use std::time::Duration;

use crate::{
    service::{Services, api_keys::expiry_notifications},
    store::StoreError,
};

/// Polling interval. Clients that follow the events receive them within two seconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of batches per run, so that a stop does not wait for all keys of a large
/// organization.
const BATCHES: usize = 10;

/// Writes the events that are due, up to `BATCHES` batches of each kind.
pub async fn tell(services: &Services) -> Result<(), StoreError> {
    for _ in 0..BATCHES {
        let departed = expiry_notifications::record_owner_deletions(services).await?;
        let ending = expiry_notifications::record_expiry_notifications(services).await?;
        if !departed && !ending {
            break;
        }
    }
    Ok(())
}
