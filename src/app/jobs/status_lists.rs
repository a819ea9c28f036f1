//! Keeps the status lists up to date.

use crate::service::{Error, Services, status_lists};

/// Maximum number of batches of credentials without an index per run, so that a stop does not wait
/// for all credentials of a large deployment.
const BATCHES: usize = 50;

/// Assigns indexes to credentials without one, rebuilds outdated lists, and loads the lists that
/// any replica has built.
pub async fn keep(services: &Services) -> Result<(), Error> {
    for _ in 0..BATCHES {
        if !status_lists::assign_missing_indexes(services).await? {
            break;
        }
    }
    status_lists::build_lists(services).await?;
    look(services).await
}

/// Loads the lists that other replicas have built.
pub async fn look(services: &Services) -> Result<(), Error> {
    status_lists::refresh(services).await?;
    let (lists, bytes) = services.status_lists.size();
    services.metrics.set_status_list_size(lists, bytes);
    Ok(())
}
