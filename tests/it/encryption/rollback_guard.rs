//! Detection of a database that was restored to an older state: nothing is signed until the
//! operator confirms the state.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use keyswap::service::encryption::{database_progress::GuardState, rollback_guard};
use serde_json::{Value, json};

use super::{on_both, quick, refused};
use crate::{
    faults::{
        process::{Deployment, LONG, Running, client, until},
        tables,
    },
    support::{Kind, both},
};

fn file(deployment: &Deployment) -> PathBuf {
    deployment.keys().join("rollback_guard")
}

fn written(deployment: &Deployment) -> Value {
    serde_json::from_slice(&fs::read(file(deployment)).unwrap()).unwrap()
}

/// With a staleness limit of one second, a server on a busy machine is occasionally not ready.
async fn is_ready(server: &Running) {
    until("the server is ready", LONG, || async { server.get("/readyz").await.status() == 200 }).await;
}

/// Asserts that the server at `base` waits for the operator: it signs nothing and serves its JWKS.
async fn requires_confirmation(base: &str, deployment: &Deployment, key: &str) {
    let http = client();
    let get = async |path: &str, credential: &str| {
        let request = http.get(format!("{base}{path}"));
        let request = if credential.is_empty() { request } else { request.bearer_auth(credential) };
        request.send().await.unwrap()
    };
    let ready = get("/readyz", "").await;
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await.unwrap();
    let note = ready["notes"].to_string();
    assert!(note.contains("was rolled back") && !note.contains("keyswap"), "without the remedy: {note}");
    let answer = http.post(format!("{base}/v1/exchange")).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    for path in ["/v1/api-keys", "/v1/signing-keys"] {
        let answer = get(path, &deployment.admin()).await;
        assert_eq!(answer.status(), 503, "{path}: administrators cannot be authenticated");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("restore") && text.contains("try again"), "{path}: {text}");
    }
    let jwks: Value = get("/.well-known/jwks.json", "").await.json().await.unwrap();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2, "what was published stays published");
    let doctor = deployment.run(&["doctor"]);
    assert!(doctor.code == Some(1) && doctor.out.contains("was rolled back"), "{doctor:?}");
    let status = deployment.json(&["restore", "status"]);
    assert_eq!(status["asks"], true, "{status}");
}

#[test]
fn restored_database_requires_confirmation_and_continues_after_it() {
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
        assert!(server.exchange_succeeds(&key).await, "a restart alone asks nothing");
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
        requires_confirmation(&server.base, &deployment, &key).await;
        // Once for each change of the state, not for each refused request.
        let log = server.process.log();
        assert_eq!(log.matches("the rollback check failed").count(), 1, "{log}");
        // Further writes do not make the restored state valid, because its event chain has
        // diverged.
        for _ in 0..4 {
            assert_eq!(
                deployment.run(&["api-key", "create", "--name", "more"]).code,
                Some(0),
                "the server's own shell is trusted"
            );
        }
        server.stop();
        let server = deployment.serve();
        requires_confirmation(&server.base, &deployment, &key).await;
        let why = deployment.json(&["restore", "status"])["why"].to_string();
        assert!(why.contains("and used since"), "{why}");

        let said = deployment.run(&["restore", "accept"]);
        refused(&said, &["--yes"]);
        for words in ["since the backup are valid again", "Signing keys published since are lost", "newer backup"] {
            assert!(said.out.contains(words), "{words}: {said:?}");
        }
        requires_confirmation(&server.base, &deployment, &key).await;
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        until("the server goes on", LONG, || async { server.exchange_succeeds(&key).await }).await;
        is_ready(&server).await;
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
        assert!(server.exchange_succeeds(&key).await, "and stays so");
        server.stop();
        // Restoring the same backup again is detected again.
        restore();
        let server = deployment.serve();
        requires_confirmation(&server.base, &deployment, &key).await;
        server.stop();
    });
}

/// Removes the last events, as a restore or a lagging standby does.
pub fn undo_restore(deployment: &Deployment, count: i64) {
    deployment.database.sql(&format!(
        "UPDATE event_chain_head SET hash = (SELECT prev_hash FROM events WHERE seq = event_chain_head.seq - {count} + 1); \
         UPDATE event_chain_head SET seq = seq - {count}; \
         DELETE FROM events WHERE seq > (SELECT seq FROM event_chain_head)"
    ));
}

/// Copies of all tables, which emulate a backup on both databases.
struct Backup(Vec<String>);

impl Backup {
    fn of(deployment: &Deployment) -> Self {
        let tables = tables::names(deployment);
        for table in &tables {
            deployment.database.sql(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
        }
        Self(tables)
    }

    fn put_back(&self, deployment: &Deployment) {
        let unbound = match deployment.database.kind {
            Kind::Sqlite => "PRAGMA foreign_keys = OFF",
            Kind::Postgres => "SET session_replication_role = replica",
        };
        let each =
            self.0.iter().map(|table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table};"));
        deployment.database.sql(&format!("{unbound}; BEGIN; {} COMMIT", each.collect::<String>()));
    }
}

async fn jwks(server: &Running, query: &str) -> (BTreeSet<String>, String) {
    let answer = server.get(&format!("/.well-known/jwks.json{query}")).await;
    let kept = answer.headers()["cache-control"].to_str().unwrap().to_owned();
    let jwks: Value = answer.json().await.unwrap();
    (jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect(), kept)
}

on_both! {
    async fn revoked_keys_stay_refused_until_the_rollback_is_accepted(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        let token: Value = server.exchange(&key).await.json().await.unwrap();
        let list = deployment.json(&["signing-key", "list"]);
        let kid = |state: &str| list.as_array().unwrap().iter().find(|key| key["state"] == state).unwrap()["kid"].as_str().unwrap().to_owned();
        let (pulled, next) = (kid("active"), kid("next"));
        server.stop();
        let backup = Backup::of(&deployment);

        let server = deployment.serve();
        assert_eq!(server.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await.status(), 200);
        assert_eq!(server.call(&admin, "POST", &format!("/v1/signing-keys/{pulled}/revoke"), None).await.status(), 200);
        let (published, kept) = jwks(&server, "").await;
        assert!(published.len() == 2 && published.contains(&next) && !published.contains(&pulled), "{published:?}");
        assert!(kept.starts_with("public"), "{kept}");
        server.stop();
        backup.put_back(&deployment);

        let server = deployment.serve();
        for query in ["", "?alg=ES256"] {
            let (found, kept) = jwks(&server, query).await;
            assert_eq!(found, published, "what was published stays so, and what was pulled stays away");
            assert_eq!(kept, "no-cache");
        }
        assert!(jwks(&server, "?alg=RS256").await.0.is_empty());
        // No key or token is accepted, including those of the administrator.
        let shown = json!({ "value": key });
        for (credential, method, path, body) in [
            (&key, "POST", "/v1/exchange", None),
            (&key, "POST", "/v1/exchange/explain", None),
            (&admin, "GET", "/v1/api-keys", None),
            (&token["access_token"].as_str().unwrap().to_owned(), "GET", "/v1/api-keys", None),
            (&admin, "POST", "/v1/api-keys/validate", Some(shown)),
        ] {
            let answer = server.call(credential, method, path, body).await;
            assert_eq!(answer.status(), 503, "{path}");
            let said = answer.text().await.unwrap();
            assert!(!said.contains("restore") && said.contains("try again"), "{path}: {said}");
        }
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            let asked = server.http.post(server.url(path)).bearer_auth(&admin).header("content-type", "application/x-www-form-urlencoded");
            let answer = asked.body(format!("token={key}")).send().await.unwrap();
            assert_eq!(answer.status(), 503, "{path}");
            let said = answer.text().await.unwrap();
            assert!(!said.contains("restore") && said.contains("try again"), "{path}: {said}");
        }
        // The command line on the server still works.
        assert_eq!(deployment.run(&["api-key", "revoke", &id]).code, Some(0));
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        until("the server goes on", LONG, || async { server.knows(&admin).await }).await;
        assert_eq!(server.exchange(&key).await.status(), 401, "it was revoked again");
        let plan = deployment.json(&["signing-key", "plan"]);
        assert!(!plan["rules"]["stable_since"].is_null(), "every delay restarts: {plan}");
        server.stop();
    }

    async fn new_database_is_not_a_rollback(deployment: Deployment) {
        deployment.serve().stop();
        let first = written(&deployment);
        tables::start_over(&deployment);
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        assert!(server.exchange_succeeds(&key).await);
        server.stop();
        let second = written(&deployment);
        assert_ne!(first["database"], second["database"], "the rollback guard starts over");
    }

    async fn corrupt_rollback_guard_requires_confirmation(deployment: Deployment) {
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        server.stop();
        for corrupted in [&b""[..], b"{}", b"\xff\xfe", br#"{"seq":1}"#] {
            fs::write(file(&deployment), corrupted).unwrap();
            let server = deployment.serve();
            assert_eq!(server.exchange(&key).await.status(), 503);
            assert_eq!(server.get("/readyz").await.status(), 503);
            server.stop();
            assert_eq!(fs::read(file(&deployment)).unwrap(), corrupted, "it is not overwritten");
        }
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        // A server that cannot write the file works and reports the failure.
        fs::remove_file(file(&deployment)).unwrap();
        fs::create_dir(file(&deployment)).unwrap();
        let server = deployment.serve();
        assert!(server.exchange_succeeds(&key).await);
        let noted = || async { server.get("/readyz").await.text().await.unwrap().contains("the rollback guard cannot be") };
        until("it is reported", LONG, noted).await;
        is_ready(&server).await;
        server.stop();
    }
}

both! {
    async fn running_server_detects_a_rollback_without_its_file(server: Server, "jobs=by_hand") {
        let deployment = Deployment::on(Arc::clone(&server.database), "keys");
        let key = server.generic_key(&[]).await.value;
        rollback_guard::update(&server.services).await.unwrap();
        let recorded = written(&deployment);
        // An older file records less than the process has seen.
        for file_is_missing in [true, false] {
            server.generic_key(&[]).await;
            rollback_guard::update(&server.services).await.unwrap();
            let seen = written(&deployment)["seq"].clone();
            if file_is_missing {
                fs::remove_file(file(&deployment)).unwrap();
            } else {
                fs::write(file(&deployment), recorded.to_string()).unwrap();
            }
            undo_restore(&deployment, 1);
            rollback_guard::update(&server.services).await.unwrap();
            assert_eq!(server.exchange(&key).await.status(), 503, "missing: {file_is_missing}");
            // The operator decides with the file, as for any rollback.
            assert_eq!(written(&deployment)["seq"], seen);
            assert_eq!(deployment.json(&["restore", "status"])["asks"], true);
            assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
            rollback_guard::update(&server.services).await.unwrap();
            assert_eq!(*server.services.rollback_guard.state(), GuardState::Consistent);
            server.refresh_keys().await;
            server.fetch_token(&key).await;
        }
    }

    /// The guard reads the database every three seconds, and a failover can happen in between.
    async fn running_server_detects_that_its_last_change_is_lost(server: Server, "jobs=by_hand") {
        let deployment = Deployment::on(Arc::clone(&server.database), "keys");
        let key = server.generic_key(&[]).await;
        rollback_guard::update(&server.services).await.unwrap();
        server.step(&key, "revoke").await;
        undo_restore(&deployment, 1);
        rollback_guard::update(&server.services).await.unwrap();
        requires_confirmation(&server.base, &deployment, &key.value).await;
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        for _ in 0..2 {
            rollback_guard::update(&server.services).await.unwrap();
            assert_eq!(*server.services.rollback_guard.state(), GuardState::Consistent);
        }
    }

    async fn running_server_detects_a_rollback(server: Server, "jobs=by_hand") {
        let deployment = Deployment::on(Arc::clone(&server.database), "keys");
        let key = server.generic_key(&[]).await.value;
        server.generic_key(&[]).await;
        let head: i64 = tables::lines(&deployment, "SELECT CAST(seq AS TEXT) AS line FROM event_chain_head")[0].parse().unwrap();
        rollback_guard::update(&server.services).await.unwrap();
        assert_eq!(written(&deployment)["seq"], head, "it is written down");
        undo_restore(&deployment, 1);
        assert_eq!(server.exchange(&key).await.status(), 200, "no refresh has run yet");
        rollback_guard::update(&server.services).await.unwrap();
        requires_confirmation(&server.base, &deployment, &key).await;
        assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
        rollback_guard::update(&server.services).await.unwrap();
        server.refresh_keys().await;
        server.fetch_token(&key).await;
        assert_eq!(deployment.run(&["doctor"]).code, Some(0));
    }
}
