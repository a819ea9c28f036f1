//! Database outages. Requests with a well-formed key get 503 with `Retry-After` and never 401,
//! public endpoints keep working, and the service recovers without a restart.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use keyswap::{
    crypto::random::SystemEntropy,
    domain::credentials::format::{ApiKeyValue, PresentedKey, Secret},
};
use serde_json::json;

use super::{
    cluster::{Cluster, Proxy},
    misplaced_keys,
    process::{Deployment, Process, Running, until},
};
use crate::support::{Kind, panics, sqlite};

/// The required bounds apply to a release build without other load (`scripts/prove faults`). A
/// debug build that runs beside other tests has wider ones and shows only that the service answers
/// and recovers.
const IS_RELEASE: bool = !cfg!(debug_assertions);
const RECOVERS_WITHIN: Duration = Duration::from_secs(if IS_RELEASE { 5 } else { 60 });
/// A request waits at most 2 s for a free connection and 5 s for the database. The rest is slack
/// for a loaded machine. The client's timeout is 20 s.
const ANSWERS_WITHIN: Duration = Duration::from_secs(if IS_RELEASE { 12 } else { 20 });
/// Public endpoints do not wait for the database, nor for a connection to it.
const PUBLIC_WITHIN: Duration = Duration::from_secs(if IS_RELEASE { 2 } else { 20 });

pub(super) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
    panics::assert_none();
}

/// A deployment on a PostgreSQL server that the test can stop. The keys are in the directory of an
/// unused SQLite database.
pub(super) fn on_postgres(url: &str) -> Deployment {
    Deployment::new(Kind::Sqlite).with(&[&format!("database.url={url}"), "database.lease=2s"])
}

/// Two invalid keys: an existing credential id with another secret, and an unknown credential id.
fn unknown_keys(key: &str) -> [String; 2] {
    let known = PresentedKey::parse(key).unwrap();
    let entropy = SystemEntropy::default();
    let unknown_id = "0123456789abcdef".parse().unwrap();
    [&known.credential_id, &unknown_id]
        .map(|id| ApiKeyValue::format(&known.prefix, id, &Secret::generate(&entropy).unwrap()).expose().to_owned())
}

/// Asserts the behavior during an outage.
async fn is_unavailable(server: &Running, admin: &str, id: &str, key: &str) {
    let [wrong, unknown] = unknown_keys(key);
    let mut requests = Vec::new();
    for key in [key, &wrong, &unknown] {
        requests.extend(misplaced_keys::forms(server, id, key));
        let explain = server.http.post(server.url("/v1/exchange/explain")).bearer_auth(key);
        requests.push(("explain".to_owned(), explain));
    }
    requests.push(("a list".to_owned(), server.http.get(server.url("/v1/api-keys")).bearer_auth(admin)));
    let make = server.http.post(server.url("/v1/service-clients")).bearer_auth(admin);
    requests.push(("a change".to_owned(), make.json(&json!({ "name": "n", "permissions": [] }))));
    let answers = requests.into_iter().map(|(what, request)| async move {
        let started = Instant::now();
        let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status(), 503, "{what}");
        let retry: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&retry));
        assert!(started.elapsed() < ANSWERS_WITHIN, "{what} took {:?}", started.elapsed());
    });
    join_all(answers).await;
    for (what, request) in misplaced_keys::forms(server, id, &key[..key.len() - 1]) {
        let status = request.send().await.unwrap().status();
        assert!(status == 401 || status == 400, "a malformed key needs no database: {what} {status}");
    }
    continues(server).await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.headers().contains_key("retry-after"));
}

/// Asserts that the public endpoints that need no database respond.
async fn continues(server: &Running) {
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/healthz"] {
        let started = Instant::now();
        assert_eq!(server.get(path).await.status(), 200, "{path}");
        assert!(started.elapsed() < PUBLIC_WITHIN, "{path} took {:?}", started.elapsed());
    }
}

/// Waits until exchanges, changes and readiness have recovered, all within `RECOVERS_WITHIN`.
pub async fn wait_until_recovered(server: &Running, admin: &str, key: &str) {
    let started = Instant::now();
    let left = || RECOVERS_WITHIN.saturating_sub(started.elapsed());
    let took = until("the exchange works again", left(), || server.exchange_succeeds(key)).await;
    until("changes work again", left(), || async {
        let body = json!({ "name": "n", "permissions": [] });
        server.call(admin, "POST", "/v1/service-clients", Some(body)).await.status() == 201
    })
    .await;
    until("ready again", left(), || async { server.get("/readyz").await.status() == 200 }).await;
    eprintln!("exchanges after {took:?}, all of it after {:?}", started.elapsed());
}

#[test]
fn service_recovers_from_stopped_postgres() {
    run(async {
        let cluster = Cluster::new();
        let deployment = on_postgres(&cluster.url(cluster.port));
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        for _ in 0..2 {
            assert!(server.exchange_succeeds(&key).await);
            cluster.stop();
            is_unavailable(&server, &admin, &id, &key).await;
            is_unavailable(&server, &admin, &id, &key).await;
            cluster.start();
            wait_until_recovered(&server, &admin, &key).await;
        }
        server.stop();
    });
}

#[test]
fn service_recovers_from_unresponsive_postgres() {
    run(async {
        let cluster = Cluster::new();
        let proxy = Proxy::to(cluster.port);
        let deployment = on_postgres(&cluster.url(proxy.port));
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        // Opens every connection of the pool.
        join_all((0..32).map(|_| server.exchange_succeeds(&key))).await;
        proxy.stop_responding();
        is_unavailable(&server, &admin, &id, &key).await;
        is_unavailable(&server, &admin, &id, &key).await;
        // The existing connections stay silent after `resume_responding`, so recovery requires new ones.
        proxy.resume_responding();
        wait_until_recovered(&server, &admin, &key).await;
        assert!(join_all((0..32).map(|_| server.exchange_succeeds(&key))).await.into_iter().all(|succeeded| succeeded));
        server.stop();
    });
}

#[test]
fn start_without_a_database_fails_with_a_message() {
    let (refuses, silent) = (Refuses::new(), TcpSilence::new());
    for url in [refuses.url(), silent.url()] {
        let started = Instant::now();
        let said = on_postgres(&url).refuses();
        assert!(said.contains("failed to connect") && said.contains("127.0.0.1"), "{said}");
        assert!(started.elapsed() < ANSWERS_WITHIN, "{:?}", started.elapsed());
    }
}

/// A port that is bound but not listening. Connections are refused, and no other process can bind
/// it.
struct Refuses(tokio::net::TcpSocket);

impl Refuses {
    fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }
    fn url(&self) -> String {
        format!("postgres://keyswap@127.0.0.1:{}/x", self.0.local_addr().unwrap().port())
    }
}

/// Accepts connections and never responds.
struct TcpSilence(std::net::TcpListener);

impl TcpSilence {
    fn new() -> Self {
        Self(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }
    fn url(&self) -> String {
        format!("postgres://keyswap@127.0.0.1:{}/x", self.0.local_addr().unwrap().port())
    }
}

/// Another process on the same host that holds a lock and hangs.
struct HealthyReplica(Child);

impl HealthyReplica {
    /// Does what a process does that recovers the log after a crash: the header of the WAL index
    /// (`-shm`, two copies of 48 bytes) is not valid, and the locks for writing, checkpoints and
    /// recovery are held (bytes 120 to 122), so that no other process can read or write. Moving or
    /// truncating the database file has no such effect, because SQLite continues with the open
    /// file and the cached pages.
    fn in_recovery(database: &str) -> Self {
        let script = "import fcntl, sys; f = open(sys.argv[1], 'r+b', 0); fcntl.lockf(f, fcntl.LOCK_EX, 3, 120); \
                      f.write(bytes(96)); print('held', flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script, &format!("{database}-shm")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for HealthyReplica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn service_recovers_from_locked_sqlite() {
    run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        let path = deployment.database.url.strip_prefix("sqlite://").unwrap();
        let neighbour = HealthyReplica::in_recovery(path);
        is_unavailable(&server, &admin, &id, &key).await;
        drop(neighbour);
        wait_until_recovered(&server, &admin, &key).await;
        server.stop();
    });
}

/// Asserts that changes get 503 while exchanges succeed and public endpoints respond.
async fn cannot_change(server: &Running, admin: &str, id: &str, key: &str) {
    let body = json!({ "name": "n", "owner": { "type": "none" }, "permissions": [] });
    let revoke = format!("/v1/api-keys/{id}/revoke");
    for (path, body) in [("/v1/api-keys", Some(body)), (revoke.as_str(), None)] {
        let answer = server.call(admin, "POST", path, body).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
        for _ in 0..20 {
            assert!(server.exchange_succeeds(key).await, "exchanges only read");
        }
    }
    continues(server).await;
}

#[test]
fn sqlite_with_another_writer_refuses_only_changes() {
    run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        let server = deployment.serve();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        let mut writer = sqlite(&deployment.database.url);
        writer.batch_execute("BEGIN IMMEDIATE").unwrap();
        cannot_change(&server, &admin, &id, &key).await;
        writer.batch_execute("ROLLBACK").unwrap();
        wait_until_recovered(&server, &admin, &key).await;
        server.stop();
    });
}

#[test]
fn full_disk_refuses_only_changes() {
    run(async {
        let deployment = Deployment::new(Kind::Sqlite);
        // The default action of SIGXFSZ ends the process. If the signal is ignored, a write beyond
        // the limit fails with an error, as on a full disk.
        let command = deployment.command(&["serve"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let server = Process::spawn(shell).ready();
        let admin = deployment.admin();
        let (id, key) = server.key(&admin).await;
        limit_files(&server, "0");
        cannot_change(&server, &admin, &id, &key).await;
        limit_files(&server, "unlimited");
        wait_until_recovered(&server, &admin, &key).await;
        assert!(server.exchange_succeeds(&key).await, "the revoke that was answered 503 did not happen");
        let said = server.stop();
        assert!(said.err.contains("unavailable"), "{}", said.err);
        let doctor = deployment.run(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
    });
}

/// Limits the size of files that the server can write. With limit 0 every write fails, as on a full
/// disk.
fn limit_files(server: &Running, size: &str) {
    let pid = server.process.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}:")]).status().unwrap();
    assert!(done.success());
}
