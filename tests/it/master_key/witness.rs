//! A database that was put back to an older state is noticed, and nothing is signed until an operator has looked.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{on_both, quick, refused};
use crate::{
    faults::{
        process::{Deployment, LONG, Running, until},
        tables,
    },
    support::Kind,
};

fn file(deployment: &Deployment) -> PathBuf {
    deployment.keys().join("witness")
}

fn written(deployment: &Deployment) -> Value {
    serde_json::from_slice(&fs::read(file(deployment)).unwrap()).unwrap()
}

/// Asks, signs nothing, and serves what it has.
async fn asks(server: &Running, deployment: &Deployment, key: &str) {
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    let note = ready["notes"].to_string();
    assert!(note.contains("looks like an old backup") && note.contains("keyswap restore accept"), "{note}");
    let answer = server.exchange(key).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let jwks: Value = server.get("/.well-known/jwks.json").await.json().await.unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "what was published stays published");
    let doctor = deployment.run(&["doctor"]);
    assert!(doctor.code == Some(1) && doctor.out.contains("looks like an old backup"), "{doctor:?}");
    let status = deployment.json(&["restore", "status"]);
    assert_eq!(status["asks"], true, "{status}");
}

#[test]
fn an_older_copy_of_the_file_asks_and_goes_on_once_accepted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let deployment = quick(Kind::Sqlite);
        assert!(!file(&deployment).exists());
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        server.stop();
        let data = deployment.database.dir.path().join("data/keyswap.db");
        let backup = deployment.database.dir.path().join("backup.db");
        fs::copy(&data, &backup).unwrap();
        let before = written(&deployment)["seq"].as_i64().unwrap();

        let server = deployment.serve();
        assert!(server.swaps(&key).await, "a restart alone asks nothing");
        let revoke = format!("/v1/api-keys/{id}/revoke");
        assert!(server.call(&admin, "POST", &revoke, None).await.status().is_success());
        let (_, lost) = server.key(&admin).await;
        server.stop();
        assert_eq!(written(&deployment)["seq"].as_i64().unwrap(), before + 2, "a clean stop writes it down");

        let restore = || {
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(deployment.database.dir.path().join(format!("data/keyswap.db{suffix}")));
            }
            fs::copy(&backup, &data).unwrap();
        };
        restore();
        let server = deployment.serve();
        asks(&server, &deployment, &key).await;
        // It does not become right by being used: the history is another one, however long it grows.
        for _ in 0..4 {
            server.key(&admin).await;
        }
        server.stop();
        let server = deployment.serve();
        asks(&server, &deployment, &key).await;
        let why = deployment.json(&["restore", "status"])["why"].to_string();
        assert!(why.contains("was used since"), "{why}");

        let said = deployment.run(&["restore", "accept"]);
        refused(&said, &["--yes"]);
        for words in
            ["were revoked, suspended or rotated since work again", "published since are unknown", "newer backup"]
        {
            assert!(said.out.contains(words), "{words}: {said:?}");
        }
        asks(&server, &deployment, &key).await;
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        until("the server goes on", LONG, || async { server.swaps(&key).await }).await;
        assert_eq!(server.get("/readyz").await.status(), 200);
        assert_eq!(server.exchange(&lost).await.status(), 401, "what was made since is unknown");
        let events: Value =
            server.call(&admin, "GET", "/v1/events?type=restore.accepted", None).await.json().await.unwrap();
        assert_eq!(
            (events["data"][0]["actor"]["type"].as_str(), events["data"][0]["data"]["seen_seq"].as_i64()),
            (Some("cli"), Some(before + 2))
        );
        refused(&deployment.run(&["restore", "accept", "--yes"]), &["nothing to accept"]);
        server.stop();
        let server = deployment.serve();
        assert!(server.swaps(&key).await, "and stays so");
        server.stop();
        // The same backup once more is noticed once more.
        restore();
        let server = deployment.serve();
        asks(&server, &deployment, &key).await;
        server.stop();
    });
}

/// Takes the last events back, as a database does that was put back, or a standby that lags behind.
fn take_back(deployment: &Deployment, count: i64) {
    deployment.database.sql(&format!(
        "UPDATE event_head SET hash = (SELECT prev_hash FROM events WHERE seq = event_head.seq - {count} + 1); \
         UPDATE event_head SET seq = seq - {count}; \
         DELETE FROM events WHERE seq > (SELECT seq FROM event_head)"
    ));
}

on_both! {
    async fn a_running_server_notices_as_well(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        server.key(&admin).await;
        let head: i64 = tables::lines(&deployment, "SELECT CAST(seq AS TEXT) AS line FROM event_head")[0].parse().unwrap();
        let seen = || async { file(&deployment).exists() && written(&deployment)["seq"] == head };
        until("it is written down", LONG, seen).await;
        take_back(&deployment, 1);
        until("it is noticed", Duration::from_secs(15), || async { server.exchange(&key).await.status() == 503 }).await;
        asks(&server, &deployment, &key).await;
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        until("the server goes on", Duration::from_secs(15), || async { server.swaps(&key).await }).await;
        server.stop();
        assert_eq!(deployment.run(&["doctor"]).code, Some(0));
    }

    async fn a_new_database_is_no_old_backup(deployment: Deployment) {
        deployment.serve().stop();
        let first = written(&deployment);
        tables::start_over(&deployment);
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        assert!(server.swaps(&key).await);
        server.stop();
        let second = written(&deployment);
        assert_ne!(first["database"], second["database"], "the witness begins anew");
    }

    async fn a_witness_that_was_spoilt_asks(deployment: Deployment) {
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        server.stop();
        for spoilt in [&b""[..], b"{}", b"\xff\xfe", br#"{"seq":1}"#] {
            fs::write(file(&deployment), spoilt).unwrap();
            let server = deployment.serve();
            assert_eq!(server.exchange(&key).await.status(), 503);
            assert_eq!(server.get("/readyz").await.status(), 503);
            server.stop();
            assert_eq!(fs::read(file(&deployment)).unwrap(), spoilt, "it is not written over");
        }
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        // And where it cannot be written, the server works, and says so.
        fs::remove_file(file(&deployment)).unwrap();
        fs::create_dir(file(&deployment)).unwrap();
        let server = deployment.serve();
        assert!(server.swaps(&key).await);
        let noted = || async { server.get("/readyz").await.text().await.unwrap().contains("the witness cannot be") };
        until("it is told", LONG, noted).await;
        assert_eq!(server.get("/readyz").await.status(), 200);
        server.stop();
    }
}
