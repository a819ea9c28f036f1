//! Tells of keys that end without anybody doing it to them.

use std::time::Duration;

use crate::{
    service::{App, api_keys::notices},
    store::StoreError,
};

/// How often it is looked whether there is any: whoever follows the events hears of them within two seconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many batches at a time: a stop must not wait until all keys of a large organization are told of.
const BATCHES: usize = 10;

/// Writes the events that are due, up to a number of batches.
pub async fn tell(app: &App) -> Result<(), StoreError> {
    for _ in 0..BATCHES {
        let departed = notices::tell_of_departed(app).await?;
        let ending = notices::tell_of_endings(app).await?;
        if !departed && !ending {
            break;
        }
    }
    Ok(())
}
