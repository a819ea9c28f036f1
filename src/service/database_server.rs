//! A new database server is trusted only after a rollback check (invariant 17): a standby that was
//! promoted may lack the latest changes.

use crate::service::{Error, Services, encryption::rollback_guard};

/// Takes the lease on the database for a server, and checks the database for a rollback. For a
/// command, which needs no lease, only checks it.
pub async fn start(services: &Services) -> Result<(), Error> {
    let replica = services.replica_registration.lock().clone();
    if let Some(replica) = replica {
        services.store.hold_lease(&replica.id).await?;
    }
    check(services).await
}

/// Checks the database for a rollback. If that succeeds, the server that acknowledges heartbeats is
/// trusted. A database that was rolled back halts signing until an operator decides; its server is
/// trusted all the same, because a halted replica still reports its published keys. Look-ups that
/// waited for this server are refused, because `credentials::verify` asks whether it is halted
/// after them too.
async fn check(services: &Services) -> Result<(), Error> {
    let server = services.store.server_to_check();
    rollback_guard::check(services).await?;
    if let Some(server) = server {
        services.store.set_server_checked(server);
    }
    Ok(())
}

/// Checks the database server that acknowledges heartbeats, unless that has been done.
pub async fn check_new(services: &Services) -> Result<(), Error> {
    if services.store.server_to_check().is_some() { check(services).await } else { Ok(()) }
}
