//! Keeps the status lists up to date.

use crate::service::{App, Error, status_lists};

/// Maximum number of batches of credentials without an index per run, so that a stop does not wait
/// for all credentials of a large deployment.
const BATCHES: usize = 50;

/// Assigns indexes to credentials without one, rebuilds outdated lists, and loads the lists that
/// any replica has built.
pub async fn keep(app: &App) -> Result<(), Error> {
    for _ in 0..BATCHES {
        if !status_lists::assign_missing_indexes(app).await? {
            break;
        }
    }
    status_lists::build_lists(app).await?;
    look(app).await
}

/// Loads the lists that other replicas have built.
pub async fn look(app: &App) -> Result<(), Error> {
    status_lists::refresh(app).await?;
    let (lists, bytes) = app.status_lists.size();
    app.metrics.set_status_list_size(lists, bytes);
    Ok(())
}
