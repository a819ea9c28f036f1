//! Exchanges on SQLite while others use the same file: checkpoints, VACUUM, processes that come and
//! go, and a writer that is killed. Each exchange is answered 200, or 503 with `Retry-After` while
//! the database is locked, and a change applies to the next exchange. `faults::outage` tests a lock
//! that is held for long.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use diesel::connection::SimpleConnection;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    outage,
    process::{Deployment, LONG, Running, until},
};
use crate::support::{
    Kind,
    keep_alive::{KeepAlive, exchange_of},
    sqlite,
};

const CLIENTS: usize = 4;

/// Clients that exchange one key until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    granted: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    async fn start(server: &Running, key: &str) -> Self {
        let (stop, granted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let mut line = KeepAlive::open(&server.base).await.unwrap();
            let (stop, granted, request) = (Arc::clone(&stop), Arc::clone(&granted), exchange_of(key, ""));
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = line.ask(&request).await.unwrap();
                    match answer.status {
                        200 => _ = granted.fetch_add(1, Ordering::Relaxed),
                        503 => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
                        _ => panic!("{answer:?}"),
                    }
                }
            });
        }
        Self { stop, granted, clients }
    }

    /// Waits until more exchanges were granted.
    async fn goes_on(&self) {
        let before = self.granted.load(Ordering::Relaxed);
        until("exchanges go on", LONG, || async { self.granted.load(Ordering::Relaxed) > before + CLIENTS }).await;
    }

    async fn stop(self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

/// Asserts that a revocation applies to the next exchange, whatever others have done to the file.
async fn revocation_applies(server: &Running, admin: &str) {
    let (id, key) = server.key(admin).await;
    assert!(server.exchange_succeeds(&key).await && server.exchange_succeeds(&key).await);
    assert_eq!(server.call(admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await.status(), 200);
    assert_eq!(server.exchange(&key).await.status(), 401);
}

#[test]
fn exchanges_go_on_beside_checkpoints_and_vacuum() {
    outage::run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        let load = Load::start(&server, &key).await;
        for statement in ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"] {
            for _ in 0..3 {
                load.goes_on().await;
                // VACUUM needs the lock of a writer, which jobs of the server may hold.
                let mut neighbour = sqlite(&deployment.database.url);
                neighbour.batch_execute(statement).unwrap();
                drop(neighbour);
                revocation_applies(&server, &admin).await;
            }
        }
        load.stop().await;
        server.stop();
    });
}

#[test]
fn exchanges_go_on_while_other_processes_open_and_close_the_file() {
    outage::run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        let load = Load::start(&server, &key).await;
        for _ in 0..3 {
            assert_eq!(deployment.run(&["api-key", "create", "--name", "more"]).code, Some(0));
            load.goes_on().await;
            let neighbour = deployment.serve();
            revocation_applies(&neighbour, &admin).await;
            neighbour.stop();
            load.goes_on().await;
        }
        load.stop().await;
        // The neighbour closes the file last.
        let neighbour = deployment.serve();
        server.stop();
        assert!(neighbour.exchange_succeeds(&key).await);
        assert_eq!(neighbour.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await.status(), 200);
        neighbour.stop();
        let server = deployment.serve();
        assert_eq!(server.exchange(&key).await.status(), 401);
        server.stop();
    });
}

#[test]
fn exchanges_go_on_when_a_writer_is_killed() {
    outage::run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        let load = Load::start(&server, &key).await;
        for round in 0..6 {
            let writer = deployment.serve();
            let (id, ended) = writer.key(&admin).await;
            assert!(server.exchange_succeeds(&ended).await);
            let revoked = writer.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await;
            assert_eq!(revoked.status(), 200);
            // Changes without an answer, of which some are being written.
            let mut changes = JoinSet::new();
            for number in 0..8 {
                let body = json!({ "name": format!("{round} {number}"), "permissions": [] });
                let request = writer.http.post(writer.url("/v1/service-clients")).bearer_auth(&admin).json(&body);
                changes.spawn(request.send());
            }
            tokio::time::sleep(std::time::Duration::from_millis(3 * round)).await;
            writer.kill();
            changes.join_all().await;
            assert_ne!(server.exchange(&ended).await.status(), 200, "its revocation was answered");
            load.goes_on().await;
            revocation_applies(&server, &admin).await;
        }
        load.stop().await;
        server.stop();
        let doctor = deployment.run(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
    });
}
