//! Liveness and readiness of this replica.

use std::time::Duration;

use serde::Serialize;

use crate::{
    domain::signing::master_key::MasterKeyState,
    service::{Services, common::job_monitor::JobFault},
    store,
};

/// Whether this instance can serve requests.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub database: bool,
    pub signing_key: bool,
    /// The instance is about to stop, and is therefore not ready. Absent if it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Conditions that require the attention of an operator, whether or not the instance is
    /// ready. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Returns why the process must be restarted, or `None` if a restart is not needed.
pub fn find_liveness_fault(services: &Services) -> Option<JobFault> {
    let heartbeats =
        services.store.have_heartbeats_ended().then_some(JobFault::Ended("send heartbeats to the database"));
    services.job_monitor.find_fault().or(heartbeats)
}

/// Describes why the process must be restarted. Returns `None` if a restart is not needed.
pub fn describe_liveness_fault(services: &Services, detail: NoteDetail) -> Option<String> {
    find_liveness_fault(services).map(|fault| match detail {
        NoteDetail::Condition => "the process must be restarted".to_owned(),
        NoteDetail::Remedy => fault.to_string(),
    })
}

/// How much the notes say, and the body of liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteDetail {
    /// The condition alone, for the public listener: files and commands of the server are for
    /// operators only.
    Condition,
    /// The condition, its cause and the remedy.
    Remedy,
}

pub async fn check_readiness(services: &Services, detail: NoteDetail) -> Readiness {
    let keys = services.keys.view();
    let signing_key = keys.select_signer_at_refresh(services.settings.signing_keys.algorithm).is_ok();
    // This reads a row because the clock alone proves nothing on SQLite: it belongs to this process
    // and works while the file is locked.
    let database = match services.store.read(store::status_lists::signed_lists::read_last_event_number).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "not ready: failed to read the database");
            false
        }
    };
    let lease = services.store.lease_fault();
    let master_keys = services.master_keys.snapshot();
    let missing = master_keys.missing().values();
    // An incoming master key does not encrypt anything yet.
    let has_master_keys = missing.clone().all(|key| key.state == MasterKeyState::Incoming);
    let guard = services.rollback_guard.state();
    let notes: Vec<String> = match detail {
        NoteDetail::Condition => {
            let unusable = keys.unusable.iter().map(|kid| format!("the signing key {kid} cannot be decrypted"));
            let missing = missing.take(1).map(|_| "the file of a master key is missing or wrong".to_owned());
            let not_held = lease.map(|_| "the lease on the database is not held".to_owned());
            unusable.chain(missing).chain(not_held).chain(guard.summarize_problem().map(str::to_owned)).collect()
        }
        NoteDetail::Remedy => {
            let unusable = keys.unusable.iter().map(|kid| {
                format!(
                    "the signing key {kid} cannot be decrypted: its row was altered, or its master key is missing; \
                     rotate the key, or restore the row"
                )
            });
            let missing = missing.map(|key| format!("{}: copy the file to this replica", key.reason));
            let not_held = lease.map(|fault| format!("the lease on the database is not held: {fault}"));
            unusable.chain(missing).chain(not_held).chain(guard.describe_problem()).collect()
        }
    };
    let database = database && lease.is_none();
    let draining = services.lifecycle.is_draining();
    Readiness { ready: database && signing_key && has_master_keys && !draining, database, signing_key, draining, notes }
}

/// Returns how long ago the last heartbeat was sent that the database has acknowledged. Zero on
/// SQLite, which needs no heartbeats.
pub fn heartbeat_age(services: &Services) -> Duration {
    services.store.heartbeat_age().unwrap_or_default()
}
