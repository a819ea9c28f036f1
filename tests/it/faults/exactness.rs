//! Exactness under speed (design rule 2): two processes on one database, keys swapped without pause on both while what they stand on is
//! taken away. A hundred rounds with every change; ten thousand on each database by `scripts/prove races`.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::process::{Deployment, Running, each};
use crate::support::{
    Kind,
    keep_alive::{KeepAlive, exchange_of},
};

const FEW: usize = 100;
const MANY: usize = 10_000;

/// On each server: one that swaps without pause, and one that takes a breath, as clients do.
const BREATHS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(1)];
/// How often each of them swaps once it is too late.
const AFTER: usize = 2;

/// What ends it.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Revoked,
    Suspended,
    Rotated,
    Blocked,
    Audience,
    Role,
}

impl Cause {
    const ALL: [Self; 6] = [Self::Revoked, Self::Suspended, Self::Rotated, Self::Blocked, Self::Audience, Self::Role];
}

/// One exchange: when it began, and whether it gave a token with the permission.
#[derive(Debug, Clone, Copy)]
struct Seen {
    began: Instant,
    granted: bool,
}

/// The check: exchanges that began after the change was answered, and were granted all the same.
fn too_late(seen: &[Seen], answered: Instant) -> usize {
    seen.iter().filter(|one| one.began > answered && one.granted).count()
}

/// Who swaps.
struct Asker {
    line: KeepAlive,
    breath: Duration,
    /// Uses each answer once more than it was given: what the check must notice.
    reuses: bool,
    kept: Option<bool>,
}

impl Asker {
    async fn ask(&mut self, request: &[u8]) -> bool {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let answer = self.line.ask(request).await.unwrap();
        let granted = match answer.status {
            200 => {
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                body["scope"].as_str().unwrap_or_default().split(' ').any(|name| name == "a:b")
            }
            // invalid_scope: nothing that was asked for is left.
            400 | 401 => false,
            _ => panic!("{answer:?}"),
        };
        self.kept = self.reuses.then_some(granted);
        granted
    }

    /// Swaps on and on, until it is too late and it has seen so often enough.
    async fn swap(mut self, request: Arc<Vec<u8>>, change: Arc<Change>) -> (Self, Vec<Seen>) {
        self.kept = None;
        let (mut seen, mut after) = (Vec::new(), 0);
        while after < AFTER {
            let began = Instant::now();
            let granted = self.ask(&request).await;
            seen.push(Seen { began, granted });
            if granted && seen.len() == 1 {
                change.granted.add_permits(1);
            }
            if change.answered.get().is_some_and(|answered| began > *answered) {
                after += 1;
            }
            if self.breath > Duration::ZERO {
                sleep(self.breath).await;
            }
        }
        (self, seen)
    }
}

struct Change {
    /// One permit for each asker that was granted something first.
    granted: Semaphore,
    answered: OnceLock<Instant>,
}

/// Two servers, and what is swapped on them.
struct World {
    servers: [Running; 2],
    admin: String,
    id: String,
    value: String,
    audience: String,
}

impl World {
    async fn new(deployment: &Deployment) -> Self {
        let deployment = deployment.with(&["guessing.per_source=1000000", "guessing.per_credential=1000000"]);
        let servers = [deployment.serve(), deployment.serve()];
        let mut world = Self {
            admin: deployment.admin(),
            servers,
            id: String::new(),
            value: String::new(),
            audience: String::new(),
        };
        world.manage(0, "PUT", "/v1/permissions/a:b", json!({ "assignable_to": ["user"] })).await;
        world.manage(0, "PUT", "/v1/roles/worker", json!({ "permissions": ["a:b"] })).await;
        world.manage(0, "PUT", "/v1/users/someone", json!({ "roles": ["worker"] })).await;
        let audience = json!({ "identifier": "api", "permissions": ["a:b"] });
        let audience = world.manage(0, "POST", "/v1/audiences", audience).await;
        world.audience = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        world.make_key().await;
        world
    }

    async fn manage(&self, at: usize, method: &str, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.servers[at].call(&self.admin, method, path, body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn make_key(&mut self) {
        let owner = json!({ "type": "user", "id": "someone" });
        let key = json!({ "name": "k", "owner": owner, "permissions": ["a:b"] });
        let key = self.manage(0, "POST", "/v1/api-keys", key).await;
        self.id = key["id"].as_str().unwrap().to_owned();
        self.value = key["value"].as_str().unwrap().to_owned();
    }

    fn key_path(&self, step: &str) -> String {
        format!("/v1/api-keys/{}/{step}", self.id)
    }

    /// Takes it away, on one of the servers; gives when that was answered, and what was.
    async fn end(&self, cause: Cause, at: usize) -> (Instant, Value) {
        let (method, path, body) = match cause {
            Cause::Revoked => ("POST", self.key_path("revoke"), Value::Null),
            Cause::Suspended => ("POST", self.key_path("suspend"), Value::Null),
            Cause::Rotated => ("POST", self.key_path("rotate"), json!({ "grace": "0s" })),
            Cause::Blocked => ("PATCH", "/v1/users/someone".to_owned(), json!({ "blocked": true })),
            Cause::Audience => ("PATCH", self.audience.clone(), json!({ "permissions": [] })),
            Cause::Role => ("PUT", "/v1/roles/worker".to_owned(), json!({ "permissions": [] })),
        };
        let done = self.manage(at, method, &path, body).await;
        (Instant::now(), done)
    }

    /// Makes all well for the next round.
    async fn mend(&mut self, cause: Cause, at: usize, done: &Value) {
        let (method, path, body) = match cause {
            Cause::Revoked => return self.make_key().await,
            Cause::Rotated => {
                done["value"].as_str().unwrap().clone_into(&mut self.value);
                return;
            }
            Cause::Suspended => ("POST", self.key_path("resume"), Value::Null),
            Cause::Blocked => ("PATCH", "/v1/users/someone".to_owned(), json!({ "blocked": false })),
            Cause::Audience => ("PATCH", self.audience.clone(), json!({ "permissions": ["a:b"] })),
            Cause::Role => ("PUT", "/v1/roles/worker".to_owned(), json!({ "permissions": ["a:b"] })),
        };
        self.manage(at, method, &path, body).await;
    }
}

/// Goes through the causes in turn, `rounds` times in all or until something was granted too late. Gives how many were, and by what cause.
async fn go(deployment: &Deployment, rounds: usize, reuses: bool) -> Option<(usize, Cause)> {
    let mut world = World::new(deployment).await;
    let mut askers = Vec::new();
    for server in &world.servers {
        for breath in BREATHS {
            let line = KeepAlive::open(&server.base).await.unwrap();
            askers.push(Asker { line, breath, reuses, kept: None });
        }
    }
    let everyone = u32::try_from(askers.len()).unwrap();
    for (round, cause) in (0..rounds).zip(Cause::ALL.into_iter().cycle()) {
        let at = round / Cause::ALL.len() % 2;
        let request = Arc::new(exchange_of(&world.value, r#"{"audience":"api"}"#));
        let change = Arc::new(Change { granted: Semaphore::new(0), answered: OnceLock::new() });
        let mut swapping = JoinSet::new();
        for asker in askers.drain(..) {
            swapping.spawn(asker.swap(Arc::clone(&request), Arc::clone(&change)));
        }
        let begun = timeout(Duration::from_secs(20), change.granted.acquire_many(everyone)).await;
        let _begun =
            begun.unwrap_or_else(|_| panic!("{cause:?}, round {round}: refused before anything was taken away"));
        // Not always at the same moment of an exchange.
        sleep(Duration::from_micros(round as u64 % 8 * 400)).await;
        let (answered, done) = world.end(cause, at).await;
        change.answered.set(answered).unwrap();
        let seen = timeout(Duration::from_secs(60), swapping.join_all()).await.unwrap();
        let mut late = 0;
        for (asker, seen) in seen {
            assert!(seen.iter().filter(|one| one.began > answered).count() >= AFTER, "it went on for long enough");
            late += too_late(&seen, answered);
            askers.push(asker);
        }
        if late > 0 {
            return Some((late, cause));
        }
        // By the other server, so that both have seen either side of it.
        world.mend(cause, 1 - at, &done).await;
    }
    for server in world.servers {
        server.stop();
    }
    None
}

each! {
    async fn nothing_that_began_after_the_answer_is_granted(deployment: Deployment) {
        let late = go(&deployment, FEW, false).await;
        assert!(late.is_none(), "granted too late: {late:?}");
    }

    async fn an_answer_that_is_reused_once_too_often_is_noticed(deployment: Deployment) {
        assert!(go(&deployment, FEW, true).await.is_some(), "nobody noticed");
    }
}

fn many(kind: Kind) {
    let began = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let late = runtime.block_on(go(&Deployment::new(kind), MANY, false));
    eprintln!("exactness, {kind:?}: {MANY} rounds in {} s", began.elapsed().as_secs());
    assert!(late.is_none(), "granted too late: {late:?}");
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn ten_thousand_rounds_on_sqlite() {
    many(Kind::Sqlite);
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn ten_thousand_rounds_on_postgres() {
    many(Kind::Postgres);
}
