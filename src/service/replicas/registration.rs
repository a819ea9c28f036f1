//! The registration of this replica, and what it last reported.

use crate::domain::common::{id::ReplicaId, time::Timestamp};
use std::sync::{Mutex, PoisonError};

/// The entry of this server in the registry; empty for a command.
#[derive(Debug, Default)]
pub struct ReplicaRegistration(pub(crate) Mutex<Option<ReplicaReport>>);

#[derive(Debug, Clone)]
pub(crate) struct ReplicaReport {
    pub(crate) id: ReplicaId,
    /// The host name and the process id, by which an operator finds the process.
    pub(crate) name: String,
    pub(crate) started_at: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) published: String,
    pub(crate) master_keys: String,
}

impl ReplicaRegistration {
    /// Whether this process is a command and not a server.
    pub fn is_command(&self) -> bool {
        self.lock().is_none()
    }

    /// A panic while the lock is held leaves the value intact, because it is replaced in one
    /// assignment.
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Option<ReplicaReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
