//! The registration of this replica.

use crate::store::signing::replicas::Replica;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The entry of this server in the registry, as it last reported it; empty for a command.
#[derive(Debug, Default)]
pub struct ReplicaRegistration(Mutex<Option<Replica>>);

impl ReplicaRegistration {
    pub(crate) const fn new(replica: Replica) -> Self {
        Self(Mutex::new(Some(replica)))
    }

    /// Whether this process is a command and not a server.
    pub fn is_command(&self) -> bool {
        self.lock().is_none()
    }

    /// A panic while the lock is held leaves the value intact, because it is replaced in one
    /// assignment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Replica>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
