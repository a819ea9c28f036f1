//! Only a PostgreSQL server that can write is trusted, and only while it acknowledges heartbeats
//! (invariant 17).

use std::{
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    process::{Deployment, LONG, Running, until},
};
use crate::support::{Kind, panics};

/// The default of `database.lease`.
const LEASE: Duration = Duration::from_secs(2);

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    panics::assert_none();
}

/// A deployment on a server of the test. A request waits for two seconds at most.
fn deploy_on(cluster: &Cluster) -> Deployment {
    let url = format!("database.url={}", cluster.url(cluster.port));
    let settings = [url.as_str(), "database.connect_timeout=1s", "database.statement_timeout=1s", "database.lease=2s"];
    Deployment::new(Kind::Sqlite).with(&settings)
}

/// The notes of `/readyz`, which must answer 503.
async fn read_notes(server: &Running) -> String {
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    ready.json::<Value>().await.unwrap()["notes"].to_string()
}

async fn is_refused(server: &Running, key: &str) -> bool {
    server.exchange(key).await.status() == 503
}

async fn wait_until_recovered(server: &Running, key: &str) {
    until("the exchange works again", LONG, || server.exchange_succeeds(key)).await;
    until("ready again", LONG, || async { server.get("/readyz").await.status() == 200 }).await;
}

/// What `doctor` reports about the replication.
fn replication(deployment: &Deployment) -> (String, String) {
    let checks = deployment.json(&["doctor"]);
    let check = checks.as_array().unwrap().iter().find(|check| check["what"] == "replication").unwrap();
    let text = |member: &str| check[member].as_str().unwrap().to_owned();
    (text("status"), text("detail"))
}

#[test]
fn server_that_acknowledges_no_commit_is_not_trusted() {
    run(async {
        let cluster = Cluster::new();
        let deployment = deploy_on(&cluster);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        for (name, value, default) in
            [("default_transaction_read_only", "on", "off"), ("synchronous_standby_names", "absent", "")]
        {
            wait_until_recovered(&server, &key).await;
            cluster.set(name, value);
            until("the lease has ended", LONG, || is_refused(&server, &key)).await;
            until("the reason is named", LONG, || async { read_notes(&server).await.contains("lease") }).await;
            for _ in 0..3 {
                assert!(is_refused(&server, &key).await, "{name}");
            }
            cluster.set(name, default);
        }
        wait_until_recovered(&server, &key).await;
        let metrics = server.call(&admin, "GET", "/metrics", None).await.text().await.unwrap();
        let age =
            metrics.lines().find_map(|line| line.strip_prefix("keyswap_database_heartbeat_age_seconds ")).unwrap();
        let age: f64 = age.parse().unwrap();
        assert!(age < LEASE.as_secs_f64(), "{age}");
        let log = server.stop().err;
        for text in ["failed to record a heartbeat", "the database acknowledges heartbeats again"] {
            assert!(log.contains(text), "{text}: {log}");
        }

        let (status, detail) = replication(&deployment);
        assert!(status == "ok" && detail.contains("no standby is connected"), "{status}: {detail}");
        cluster.set("synchronous_standby_names", "absent");
        let (status, detail) = replication(&deployment);
        assert!(status == "warning" && detail.contains("'absent'") && detail.contains("changes wait"), "{detail}");
        cluster.set("synchronous_standby_names", "");
    });
}

/// The server accepts connections and answers every query, and the signing keys in memory are still
/// young enough: only the lease refuses these requests.
#[test]
fn lookup_on_a_writable_server_is_refused_when_the_lease_has_ended() {
    run(async {
        let cluster = Cluster::new();
        let deployment = deploy_on(&cluster);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (_, key) = server.key(&admin).await;
        wait_until_recovered(&server, &key).await;
        // Until the narrow row of the key suffices.
        for _ in 0..10 {
            assert!(server.exchange_succeeds(&key).await);
        }
        cluster.set("synchronous_standby_names", "absent");
        let has_lease_ended = || async {
            let ready: Value = server.get("/readyz").await.json().await.unwrap();
            ready["notes"].to_string().contains("lease")
        };
        until("the lease has ended", LEASE * 10, has_lease_ended).await;
        for _ in 0..5 {
            assert!(is_refused(&server, &key).await, "an exchange");
            let value = json!({ "value": key });
            let validated = server.call(&admin, "POST", "/v1/api-keys/validate", Some(value)).await;
            assert_eq!(validated.status(), 503, "a validation");
        }
        cluster.set("synchronous_standby_names", "");
        wait_until_recovered(&server, &key).await;
        server.stop();
    });
}

#[test]
fn frozen_server_is_not_trusted_after_the_lease() {
    run(async {
        let cluster = Cluster::new();
        let deployment = deploy_on(&cluster);
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        wait_until_recovered(&server, &key).await;
        cluster.freeze();
        tokio::time::sleep(LEASE).await;
        let refused = join_all((0..4).map(|_| is_refused(&server, &key))).await;
        assert!(refused.iter().all(|refused| *refused), "{refused:?}");
        let notes = read_notes(&server).await;
        assert!(notes.contains("the lease on the database is not held"), "{notes}");
        cluster.thaw();
        wait_until_recovered(&server, &key).await;
        server.stop();
    });
}

/// The state of a standby that lagged when it was promoted, or of a volume that was put back.
#[test]
fn server_that_lost_a_revocation_is_never_trusted() {
    run(async {
        let cluster = Cluster::new();
        let deployment = deploy_on(&cluster);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        cluster.stop();
        cluster.save();
        cluster.start();
        wait_until_recovered(&server, &key).await;
        let revoked = server.call(&admin, "POST", &format!("/v1/api-keys/{id}/revoke"), None).await;
        assert_eq!(revoked.status(), 200);
        // What the rollback guard has not recorded yet can be lost without notice.
        let last: i64 = cluster.ask("SELECT seq FROM event_chain_head").parse().unwrap();
        until("the revocation is recorded", LONG, || async {
            let guard: Value =
                serde_json::from_slice(&fs::read(deployment.keys().join("rollback_guard")).unwrap()).unwrap();
            guard["seq"].as_i64().unwrap() >= last && guard["system_id"].is_string()
        })
        .await;
        cluster.stop();
        cluster.restore();
        cluster.start();
        let started = Instant::now();
        while !server.process.log().contains("the rollback check failed") {
            assert_ne!(server.exchange(&key).await.status(), 200, "the key was revoked");
            assert!(started.elapsed() < LONG, "{}", server.process.log());
        }
        assert!(is_refused(&server, &key).await);
        let log = server.stop().err;
        assert!(log.contains("the database server changed") && log.contains("database_timeline"), "{log}");
    });
}

#[test]
fn data_in_another_cluster_or_on_an_earlier_timeline_requires_a_decision() {
    run(async {
        let deployment = Deployment::new(Kind::Postgres);
        deployment.serve().stop();
        let file = deployment.keys().join("rollback_guard");
        let mut guard: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let timeline = guard["timeline"].as_u64().unwrap();
        for (member, value, words) in [
            ("system_id", Value::from("1"), "another PostgreSQL cluster"),
            ("timeline", (timeline + 1).into(), "another PostgreSQL server was promoted in place of this one"),
        ] {
            guard[member] = value;
            fs::write(&file, guard.to_string()).unwrap();
            let server = deployment.serve();
            let log = server.process.log();
            assert!(log.contains(words) && log.contains("restore accept"), "{log}");
            assert_eq!(deployment.run(&["restore", "accept", "--yes"]).code, Some(0));
            until("ready again", LONG, || async { server.get("/readyz").await.status() == 200 }).await;
            server.stop();
            guard = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        }
    });
}

#[test]
fn sqlite_needs_no_lease() {
    run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let (_, key) = server.key(&deployment.admin()).await;
        wait_until_recovered(&server, &key).await;
        let metrics = server.call(&deployment.admin(), "GET", "/metrics", None).await.text().await.unwrap();
        assert!(metrics.lines().any(|line| line.starts_with("keyswap_database_heartbeat_age_seconds 0")), "{metrics}");
        server.stop();
        assert_eq!(replication(&deployment), ("ok".to_owned(), "SQLite: one server".to_owned()));
    });
}
