//! Keeps the status lists true.

use crate::service::{App, Error, status_lists};

/// How many batches of credentials without a place are looked after at a time: a stop must not wait for all of a large deployment.
const BATCHES: usize = 50;

/// Builds what has to be built, and takes over what anybody built.
pub async fn keep(app: &App) -> Result<(), Error> {
    for _ in 0..BATCHES {
        if !status_lists::place_old(app).await? {
            break;
        }
    }
    status_lists::rebuild(app).await?;
    look(app).await
}

/// Takes over what was built elsewhere.
pub async fn look(app: &App) -> Result<(), Error> {
    status_lists::refresh(app).await?;
    let (lists, bytes) = app.status_lists.size();
    app.metrics.status_lists_have(lists, bytes);
    Ok(())
}
