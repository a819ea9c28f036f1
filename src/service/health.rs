//! Whether this replica can do its work.

use serde::Serialize;

use super::App;

/// The answer of `/readyz`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Readiness {
    pub ready: bool,
    pub database: bool,
    pub signing_key: bool,
}

/// Asks the database, and whether a key can sign now.
pub async fn readiness(app: &App) -> Readiness {
    let signing_key = app.keys.view().signer_of_look(app.settings.algorithm).is_ok();
    let database = match app.store.now().await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "not ready");
            false
        }
    };
    Readiness { ready: database && signing_key, database, signing_key }
}
