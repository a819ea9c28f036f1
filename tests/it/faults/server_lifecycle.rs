//! A server's shutdown by SIGTERM and by SIGKILL, its listeners, its log and TLS.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    cluster::on_free_port,
    process::{Deployment, LONG, client, each, until},
};
use crate::support::{Kind, panics};

/// The changes that the server has acknowledged: the value of each key and whether it is revoked. A
/// revocation without a response may or may not have been committed, so such keys are not included.
type Acknowledged = Arc<Mutex<BTreeMap<String, (String, bool)>>>;

/// The number of kills in `scripts/test` and in `scripts/prove faults`.
const SAMPLE: usize = 6;
const FULL: usize = 20;

each! {
    async fn sigterm_completes_running_requests(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        assert!(server.exchange_succeeds(&key).await);
        // A long poll for events that do not occur is in flight.
        let waits = server.http.get(server.url("/v1/events?after=1000000&wait=2s")).bearer_auth(&admin).send();
        let waiting = tokio::spawn(waits);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(!waiting.is_finished());
        server.process.signal(Signal::TERM);
        let base = server.base.clone();
        let ending = tokio::task::spawn_blocking(move || server.process.end(LONG));
        let answer = waiting.await.unwrap().expect("the request in flight is answered");
        assert_eq!(answer.status(), 200);
        let said = ending.await.unwrap();
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains("stopped"), "{}", said.err);
        assert!(client().get(base).send().await.is_err(), "the listener is closed");

        let server = deployment.serve();
        let shown: Value =
            server.call(&admin, "GET", &format!("/v1/api-keys/{id}"), None).await.json().await.unwrap();
        assert!(shown["last_used_at"].is_string(), "written on the way out: {shown}");
        server.stop();
    }

    async fn acknowledged_changes_survive_sigkill_under_load(deployment: Deployment) {
        survives_kills(deployment, SAMPLE).await;
    }

    async fn operations_endpoints_move_to_their_own_listener(deployment: Deployment) {
        // A rollback guard that cannot be read is a problem that `/readyz` names.
        fs::create_dir_all(deployment.keys().join("rollback_guard")).unwrap();
        let (port, server) = on_free_port(|port| {
            let settled = deployment.with(&[&format!("server.admin_bind=127.0.0.1:{port}")]).start().settle();
            settled.map_err(|said| {
                assert!(said.err.contains("failed to listen on"), "{said:?}");
                said.err
            })
        });
        let admin = format!("127.0.0.1:{port}");
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(server.get(path).await.status(), 404, "{path} is not public any more");
            let there = server.http.get(format!("http://{admin}{path}")).send().await.unwrap();
            assert_eq!(there.status(), 200, "{path}");
        }
        let ready = server.http.get(format!("http://{admin}/readyz")).send().await.unwrap().text().await.unwrap();
        assert!(ready.contains("failed to read the rollback guard"), "operators learn the cause: {ready}");
        for path in ["/v1/api-keys", "/.well-known/jwks.json"] {
            assert_eq!(server.http.get(format!("http://{admin}{path}")).send().await.unwrap().status(), 404, "{path}");
        }
        let key = deployment.admin();
        assert!(server.knows(&key).await);
        server.stop();
    }

    async fn every_json_log_line_is_valid_json(deployment: Deployment) {
        let server = deployment.with(&["log.format=json", "log.level=debug"]).serve();
        let admin = deployment.admin();
        let mut ids = Vec::new();
        for path in ["/v1/api-keys", "/nowhere", "/v1/api-keys/x\"%0a{}", "/.well-known/jwks.json"] {
            let request = server.http.get(server.url(path)).bearer_auth(&admin).header("x-request-id", "forged\"id");
            let answer = request.header("user-agent", "a\"b{}\\").send().await.unwrap();
            ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
        }
        ids.push(server.exchange("ks_nonsense").await.headers()["x-request-id"].to_str().unwrap().to_owned());
        assert!(ids.iter().all(|id| id != "forged\"id" && id.len() > 10), "{ids:?}");
        let said = server.stop();
        let lines: Vec<Value> = said
            .err
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
        for id in ids {
            let about: Vec<_> = lines.iter().filter(|line| line["span"]["request_id"] == id.as_str()).collect();
            assert_eq!(about.iter().filter(|line| line["message"] == "sent a response").count(), 1, "{id}: {about:?}");
        }
    }
}

fn many_kills(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(survives_kills(Deployment::new(kind), FULL));
    panics::assert_none();
}

#[test]
#[ignore = "takes a minute: scripts/prove faults"]
fn acknowledged_changes_survive_twenty_kills_sqlite() {
    many_kills(Kind::Sqlite);
}

#[test]
#[ignore = "takes a minute: scripts/prove faults"]
fn acknowledged_changes_survive_twenty_kills_postgres() {
    many_kills(Kind::Postgres);
}

async fn survives_kills(deployment: Deployment, rounds: usize) {
    let acknowledged = Acknowledged::default();
    let admin = {
        let server = deployment.serve();
        server.stop();
        deployment.admin()
    };
    for _ in 0..rounds {
        let server = deployment.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.lock().unwrap().len();
        let load: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn(change_until_killed(
                    (server.base.clone(), server.http.clone()),
                    admin.clone(),
                    Arc::clone(&acknowledged),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        let enough = || async { acknowledged.lock().unwrap().len() >= before + 10 };
        until("ten changes were acknowledged", LONG, enough).await;
        server.kill();
        stop.store(true, Ordering::SeqCst);
        // Each task ends: the server is down, and every request is bounded by the client's timeout.
        for task in join_all(load).await {
            task.expect("a task of the load failed");
        }
    }
    let server = deployment.serve();
    let acknowledged = acknowledged.lock().unwrap().clone();
    let revoked = acknowledged.values().filter(|(_, revoked)| *revoked).count();
    assert!(acknowledged.len() >= rounds * 10 && revoked > 0);
    for (id, (value, revoked)) in &acknowledged {
        let status = server.exchange(value).await.status();
        assert_eq!(status, if *revoked { 401 } else { 200 }, "{id}, revoked: {revoked}");
    }
    let events = server.event_counts(&admin).await;
    for (id, (_, revoked)) in &acknowledged {
        let count = |kind: &str| events.get(&(kind.to_owned(), id.clone())).copied().unwrap_or(0);
        assert_eq!(count("api_key.created"), 1, "{id}");
        assert_eq!(count("api_key.revoked"), usize::from(*revoked), "{id}");
    }
    server.stop();
    let doctor = deployment.run(&["doctor"]);
    assert!(doctor.code == Some(0) && doctor.out.contains("hash chain intact"), "{doctor:?}");
    eprintln!("{} creates and {revoked} revokes survived {rounds} kills", acknowledged.len());
}

/// Creates keys and revokes every third of them, until the server is down.
async fn change_until_killed(
    (base, http): (String, reqwest::Client),
    admin: String,
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
) {
    let body = json!({ "name": "under load", "owner": { "type": "none" }, "permissions": [] });
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let made = http.post(format!("{base}/v1/api-keys")).bearer_auth(&admin).json(&body).send().await;
        let Ok(made) = made else { return };
        let status = made.status();
        assert!(status == 201 || status == 503, "{status}");
        // A change counts as acknowledged when its response is complete.
        let Ok(made) = made.json::<Value>().await else { return };
        if status == 503 {
            continue;
        }
        let id = made["id"].as_str().unwrap();
        let value = made["value"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().insert(id.to_owned(), (value, false));
        if turn % 3 == 0 {
            let known = acknowledged.lock().unwrap().remove(id).unwrap();
            let revoked = http.post(format!("{base}/v1/api-keys/{id}/revoke")).bearer_auth(&admin).send().await;
            let Ok(revoked) = revoked else { return };
            assert!(revoked.status() == 200 || revoked.status() == 503, "{}", revoked.status());
            if revoked.status() == 200 {
                acknowledged.lock().unwrap().insert(id.to_owned(), (known.0, true));
            }
        }
    }
}

#[test]
fn server_terminates_tls() {
    let deployment = Deployment::new(Kind::Sqlite);
    let path = |name: &str| deployment.database.dir.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(path("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let with = |key: &str| {
        let certificate = format!("server.tls_certificate={}", path("cert.pem"));
        let url = "server.public_url=https://keyswap.test";
        deployment.with(&[&certificate, &format!("server.tls_key={}", path(key)), url])
    };
    assert!(with("absent.pem").refuses().contains(&path("absent.pem")));
    assert!(with("other.pem").refuses().contains("the TLS certificate and key do not match"));
    let server = with("key.pem").serve();
    let port = server.base.rsplit(':').next().unwrap();
    let curl = |flags: &[&str]| {
        let mut command = Command::new("curl");
        let format = "%header{strict-transport-security} %{http_code}";
        command.args(["-sS", "--max-time", "20", "--cacert", &path("cert.pem"), "-w", format]).args(flags);
        let output = command.arg(format!("https://localhost:{port}/.well-known/jwks.json")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let (worked, said) = curl(version);
        let headers = "max-age=31536000 200";
        assert!(worked && said.contains("\"keys\"") && said.ends_with(headers), "{version:?}: {said}");
    }
    assert!(!curl(&["--tlsv1.0", "--tls-max", "1.1"]).0, "nothing older than TLS 1.2");
    server.stop();
}
