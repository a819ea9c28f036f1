//! A new database server is believed only after the rollback guard has compared it (invariant 17):
//! a standby that was promoted may lack the latest changes.

use crate::service::{Error, Services, encryption::rollback_guard};

/// Takes the lease on the database for a server, and compares the database. For a command, which
/// needs no lease, only compares it.
pub async fn start(services: &Services) -> Result<(), Error> {
    let replica = services.replica_registration.lock().clone();
    if let Some(replica) = replica {
        services.store.hold_lease(&replica.id).await?;
    }
    compare(services).await
}

/// Compares the database with the rollback guard. If that succeeds, the server that acknowledges
/// heartbeats is believed. A database that was rolled back halts signing until an operator decides;
/// its server is believed all the same, because a halted replica still reports its published keys.
/// Look-ups that waited for this server are refused, because `credentials::verify` asks whether it
/// is halted after them too.
async fn compare(services: &Services) -> Result<(), Error> {
    let server = services.store.server_to_compare();
    rollback_guard::check(services).await?;
    if let Some(server) = server {
        services.store.set_server_compared(server);
    }
    Ok(())
}

/// Compares the database server that acknowledges heartbeats, unless that has been done.
pub async fn compare_new(services: &Services) -> Result<(), Error> {
    if services.store.server_to_compare().is_some() { compare(services).await } else { Ok(()) }
}
