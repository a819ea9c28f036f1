//! Several servers that start at the same time on one database.

use std::{fs, sync::Arc};

use keyswap::{crypto::random::SystemEntropy, domain::common::entropy::Entropy};
use serde_json::{Value, json};

use super::process::{Deployment, Process, Running, each};
use crate::support::{Database, Kind, panics};

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    panics::assert_none();
}

/// Asserts that both servers work and form one deployment.
async fn assert_identical(deployment: &Deployment, first: Running, second: Running) {
    let admin = deployment.admin();
    let mut jwks = Vec::new();
    for server in [&first, &second] {
        assert_eq!(server.get("/readyz").await.status(), 200);
        jwks.push(server.get("/.well-known/jwks.json").await.bytes().await.unwrap());
        assert!(server.knows(&admin).await, "the administrator's key on disk is the one in the database");
    }
    assert_eq!(jwks[0], jwks[1]);
    let (id, key) = first.key(&admin).await;
    assert!(second.exchange_succeeds(&key).await);
    assert_eq!(second.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await.status(), 200);
    assert!(!first.exchange_succeeds(&key).await, "revoked means refused at once, on any replica");

    let events: Value = first.call(&admin, "GET", "/v1/events?limit=100", None).await.json().await.unwrap();
    let count = |kind: &str| events["data"].as_array().unwrap().iter().filter(|event| event["type"] == kind).count();
    for kind in ["master_key.registered", "service_client.created", "signing_key.activated", "signing_key.published"] {
        assert_eq!(count(kind), 1, "{kind}");
    }
    let keys: Value = second.call(&admin, "GET", "/v1/signing-keys", None).await.json().await.unwrap();
    let states: Vec<_> = keys["data"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == json!("active")).count(), 1, "{states:?}");
    assert_eq!(states.len(), 2, "{states:?}");
    first.stop();
    second.stop();
    let files: Vec<_> = fs::read_dir(deployment.keys()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "master.1, administrator.key and the rollback guard: {files:?}");
}

fn rounds(kind: Kind, rounds: usize) {
    run(async {
        for _ in 0..rounds {
            let deployment = Deployment::new(kind);
            let (first, second) = (deployment.start(), deployment.start());
            assert_identical(&deployment, first.ready(), second.ready()).await;
        }
    });
}

#[test]
fn five_concurrent_starts_on_empty_postgres_agree() {
    rounds(Kind::Postgres, 5);
}

#[test]
#[ignore = "takes a minute: scripts/prove faults"]
fn twenty_concurrent_starts_on_empty_postgres_agree() {
    rounds(Kind::Postgres, 20);
}

#[test]
fn five_concurrent_starts_on_a_new_sqlite_file_agree() {
    rounds(Kind::Sqlite, 5);
}

#[test]
fn second_server_with_other_master_keys_refuses_to_start() {
    run(async {
        for with_files in [false, true] {
            let database = Arc::new(Database::empty(Kind::Postgres));
            let deployments = ["one", "two"].map(|keys| Deployment::on(Arc::clone(&database), keys));
            let mut files = Vec::new();
            for deployment in &deployments {
                let mut key = [0; 32];
                SystemEntropy::default().fill(&mut key).unwrap();
                if with_files {
                    write_master_key(deployment, &key);
                }
                files.push(fs::read(deployment.keys().join("master.1")).ok());
            }
            let started = deployments.each_ref().map(Deployment::start);
            let settled = started.map(Process::settle);
            let won = settled.iter().position(Result::is_ok).expect("one must win");
            let (winner, loser) = (&deployments[won], &deployments[1 - won]);
            for (place, outcome) in settled.into_iter().enumerate() {
                match outcome {
                    Ok(server) => {
                        assert_eq!(place, won, "both started, with different keys");
                        assert!(server.knows(&winner.admin()).await);
                        server.stop();
                    }
                    Err(said) => {
                        assert_eq!(said.code, Some(1));
                        let file = loser.keys().join("master.1").display().to_string();
                        assert!(said.err.contains(&file), "{}", said.err);
                        let why = if with_files { "is not the key" } else { "is missing" };
                        assert!(said.err.contains(why), "{}", said.err);
                    }
                }
            }
            assert_eq!(fs::read(loser.keys().join("master.1")).ok(), files[1 - won], "its file is as it was");
            assert!(!loser.keys().join("administrator.key").exists());
            // The winner is complete and can be started again.
            let again = winner.serve();
            assert!(again.knows(&winner.admin()).await);
            again.stop();
        }
    });
}

fn write_master_key(deployment: &Deployment, key: &[u8; 32]) {
    use base64::Engine;
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(deployment.keys()).unwrap();
    let file = deployment.keys().join("master.1");
    fs::write(&file, base64::engine::general_purpose::STANDARD.encode(key)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

each! {
    async fn command_line_changes_take_effect_at_once(deployment: Deployment) {
        let server = deployment.serve();
        let made = deployment.json(&["api-key", "create", "--name", "from the shell"]);
        let (id, key) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
        assert!(server.exchange_succeeds(key).await);
        for (step, works) in [("suspend", false), ("resume", true), ("revoke", false)] {
            deployment.json(&["api-key", step, id]);
            assert_eq!(server.exchange_succeeds(key).await, works, "{step}");
        }
        let made = deployment.json(&["api-key", "create", "--name", "another"]);
        let rotated = deployment.json(&["api-key", "rotate", made["id"].as_str().unwrap(), "--grace", "0s"]);
        assert!(server.exchange_succeeds(rotated["value"].as_str().unwrap()).await);
        assert!(!server.exchange_succeeds(made["value"].as_str().unwrap()).await, "without grace the old value is dead at once");
        let events: Value =
            server.call(&deployment.admin(), "GET", "/v1/events?limit=100&actor=cli", None).await.json().await.unwrap();
        assert_eq!(events["data"].as_array().unwrap().len(), 6);
        server.stop();
    }
}
