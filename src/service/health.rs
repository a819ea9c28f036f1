//! Readiness of this replica.

use serde::Serialize;

use crate::{domain::signing::master_key::MasterKeyState, service::Services, store};

/// The response of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    pub ready: bool,
    pub database: bool,
    pub signing_key: bool,
    /// Problems that require an operator. They do not imply that the replica is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Checks the database, the signing keys and the master keys. A signing key that cannot be used is
/// reported in `collect_notes`; the others remain in use.
pub async fn check_readiness(services: &Services) -> Readiness {
    let signing_key = services.keys.view().select_signer_at_refresh(services.settings.signing_keys.algorithm).is_ok();
    // This reads a row because the clock alone proves nothing on SQLite: it belongs to this process
    // and works while the file is locked.
    let database = match services.store.read(store::status_lists::signed_lists::read_last_event_number).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "not ready");
            false
        }
    };
    let master = services.master.held();
    // An incoming master key does not encrypt anything yet.
    let master_keys = master.missing().values().all(|lack| lack.state == MasterKeyState::Incoming);
    Readiness { ready: database && signing_key && master_keys, database, signing_key, notes: collect_notes(services) }
}

fn collect_notes(services: &Services) -> Vec<String> {
    let unusable = services
        .keys
        .view()
        .unusable
        .iter()
        .map(|kid| {
            format!(
                "the signing key {kid} does not open: its row was altered, or its master key is missing; \
             rotate it away, or restore the row"
            )
        })
        .collect::<Vec<_>>();
    let master = services.master.held();
    let missing = master.missing().values().map(|lack| format!("{}: copy the file to this replica", lack.why));
    unusable.into_iter().chain(missing).chain(services.rollback_guard.verdict().told()).collect()
}
