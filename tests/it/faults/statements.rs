//! `kill -9` at each statement of a rotation, of a rotation of the master key and of a revocation: what stands in the database is as before
//! or as after. The process that dies is one of this program's own, with a fuse in its database connections; in all else it is Keyswap.

use std::{
    env,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use keyswap::{
    cli::compose,
    crypto::random::SystemEntropy,
    domain::{
        event::{Actor, Origin},
        grant::Request,
    },
    service::{
        App, Error,
        caller::Caller,
        exchange,
        guessing::Source,
        master_keys::{self, Resealed},
        proof::Attempt,
        revocation, signing_keys,
        start::Mode,
    },
    telemetry::metrics::Form,
};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use super::{
    process::{Deployment, LONG, Process, Running, Said},
    tables::lines,
};
use crate::{
    master_key::{Full, quick},
    support::{Kind, MovedClock, wire::form},
};

const TASK: &str = "KEYSWAP_TEST_TASK";

/// What the process is to do, and at which statement of it to die: the first is 1.
#[derive(serde::Serialize, serde::Deserialize)]
struct Task {
    act: Act,
    /// What is revoked.
    shown: String,
    at: usize,
    settings: Vec<String>,
    /// How far the clock of SQLite stands from ours, in milliseconds.
    offset: i64,
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum Act {
    Rotate,
    Tick,
    MasterKey,
    Revoke,
}

/// How many statements are left until the end; none: there is no end.
static LEFT: AtomicUsize = AtomicUsize::new(0);

struct Fuse;

impl Instrumentation for Fuse {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        // Before each statement; and when the last one is done, but nobody has heard.
        let burns = match &event {
            InstrumentationEvent::StartQuery { .. } => true,
            InstrumentationEvent::FinishQuery { query, .. } => query.to_string().starts_with("COMMIT"),
            _ => false,
        };
        if burns && LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1) {
            eprintln!("killed at {event:?}");
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

#[test]
#[ignore = "the process that dies: the other tests of this file start it"]
fn child() {
    let Ok(task) = env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    set_default_instrumentation(|| Some(Box::new(Fuse))).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let app = app(&task.settings, task.offset).await;
        LEFT.store(task.at, Ordering::SeqCst);
        act(&app, &task).await;
        LEFT.store(0, Ordering::SeqCst);
    });
}

async fn app(settings: &[String], offset: i64) -> App {
    let config = compose::config(None, settings).unwrap();
    compose::app(&config, Mode::Command, Arc::new(MovedClock::by(offset))).await.unwrap()
}

async fn act(app: &App, task: &Task) {
    match task.act {
        Act::Rotate => match signing_keys::rotate(app, &Caller::system(), None).await {
            // It was done by the one that died before it could say so.
            Ok(_) | Err(Error::TooEarly(_)) => {}
            Err(error) => panic!("{error}"),
        },
        Act::Tick => signing_keys::tick(app).await.unwrap(),
        Act::MasterKey => {
            let (dir, entropy) = (&app.settings.keys_dir, SystemEntropy::default());
            let origin = || Origin::of(Actor::Cli);
            // Of the one that died last it may all be done.
            let keys = master_keys::status(&app.store, dir).await.unwrap();
            if keys.len() == 1 {
                master_keys::begin(&app.store, dir, origin(), &entropy).await.unwrap();
            }
            master_keys::activate(&app.store, dir, origin(), master_keys::Lacking::PassedOver).await.unwrap();
            let mut done = Resealed::default();
            master_keys::reseal(&app.store, &app.master, &origin(), &entropy, &mut done, |_| ()).await.unwrap();
            assert!(master_keys::retire(&app.store, origin()).await.unwrap().is_empty());
        }
        Act::Revoke => revocation::revoke(app, &Caller::system(), &task.shown).await.unwrap(),
    }
}

/// A deployment whose process dies again and again.
struct Mortal {
    deployment: Deployment,
    offset: i64,
    kills: usize,
}

impl Mortal {
    fn on(deployment: Deployment) -> Self {
        Self { deployment, offset: 0, kills: 0 }
    }

    fn hours_pass(&mut self, hours: i64) {
        self.offset += hours * 3_600_000;
        self.deployment.database.set_clock(hours * 3_600_000);
    }

    /// Does it once, and dies at the statement `at`, if there is one.
    fn once(&self, act: Act, shown: &str, at: usize) -> Said {
        let task =
            Task { act, shown: shown.to_owned(), at, settings: self.deployment.settings.clone(), offset: self.offset };
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "faults::statements::child", "--ignored", "--nocapture"]);
        command.env(TASK, serde_json::to_string(&task).unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn(command).end(LONG)
    }

    /// Does it again and again, and each time dies one statement later, until it is done.
    async fn until_done(&mut self, act: Act, shown: &str, mut look: impl AsyncFnMut(&str)) {
        for at in 1.. {
            let said = self.once(act, shown, at);
            if said.code.is_some() {
                assert_eq!(said.code, Some(0), "{said:?}");
                look("done").await;
                return;
            }
            self.kills += 1;
            look(&format!("{act:?}, statement {at}: {}", said.err.trim())).await;
        }
    }

    /// A server that starts now swaps a key.
    async fn swaps(&self, key: &str, when: &str) {
        let app = app(&self.deployment.settings, self.offset).await;
        let attempt = Attempt { key, source: Source::BEHIND_ANOTHER, form: Form::Exchange };
        let issued = exchange::exchange(&app, attempt, &Request::default()).await;
        assert!(issued.is_ok(), "{when}: {:?}", issued.err());
    }

    fn count(&self, rows: &str) -> usize {
        lines(&self.deployment, &format!("SELECT 'x' AS line FROM {rows}")).len()
    }

    /// What has happened and what is told of it are one: as many rows as events.
    fn is_told(&self, rows: &str, event: &str, when: &str) {
        let (rows, events) = (self.count(rows), self.count(&format!("events WHERE kind = '{event}'")));
        assert_eq!(rows, events, "{event}, {when}");
    }

    /// The trail hangs together, and everything opens.
    fn is_well(&self) {
        let doctor = self.deployment.run(&["doctor"]);
        assert!(doctor.code == Some(0) && doctor.out.contains("every link holds"), "{doctor:?}");
    }
}

fn on_both(deployment: impl Fn(Kind) -> Deployment, test: impl AsyncFn(Mortal) -> usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let kills = runtime.block_on(test(Mortal::on(deployment(kind))));
        eprintln!("{kind:?}: killed at {kills} statements");
        assert!(kills > 10, "the fuse burns");
    }
}

#[test]
fn a_rotation_of_the_signing_key_is_whole_or_not() {
    on_both(Deployment::new, async |mut mortal| {
        let server = mortal.deployment.serve();
        let key = server.key(&mortal.deployment.admin()).await.1;
        server.stop();
        let before = mortal.count("signing_keys");
        for (act, hours) in [(Act::Rotate, 3), (Act::Tick, 0), (Act::Tick, 3), (Act::Tick, 3)] {
            mortal.hours_pass(hours);
            let (deployment, offset) = (mortal.deployment.with(&[]), mortal.offset);
            let seen = Mortal { deployment, offset, kills: 0 };
            mortal
                .until_done(act, "", async |when| {
                    assert_eq!(seen.count("signing_keys WHERE state = 'active'"), 1, "{when}");
                    assert_eq!(seen.count("signing_keys WHERE state = 'next'"), 1, "{when}");
                    // The first of all signs at once, and has one event for both.
                    let published = "signing_keys WHERE activated_at IS NULL OR activated_at > published_at";
                    seen.is_told(published, "signing_key.published", when);
                    seen.is_told("signing_keys WHERE activated_at IS NOT NULL", "signing_key.activated", when);
                    seen.is_told("signing_keys WHERE retired_at IS NOT NULL", "signing_key.retired", when);
                    seen.is_told("signing_keys WHERE removed_at IS NOT NULL", "signing_key.removed", when);
                    seen.is_told("signing_keys WHERE destroyed_at IS NOT NULL", "signing_key.destroyed", when);
                    assert_eq!(
                        seen.count("signing_keys WHERE (destroyed_at IS NULL) <> (sealed IS NOT NULL)"),
                        0,
                        "{when}"
                    );
                    seen.swaps(&key, when).await;
                })
                .await;
        }
        assert_eq!(mortal.count("signing_keys"), before + 1, "rotated once, however often it was begun");
        assert_eq!(mortal.count("signing_keys WHERE state = 'removed'"), 1);
        mortal.is_well();
        mortal.kills
    });
}

#[test]
fn a_revocation_is_whole_or_not() {
    on_both(Deployment::new, async |mut mortal| {
        let server = mortal.deployment.serve();
        let admin = mortal.deployment.admin();
        let audience = json!({ "identifier": "https://each.test", "status": "token" });
        assert_eq!(server.call(&admin, "POST", "/v1/audiences", Some(audience)).await.status(), 201);
        for round in 0..2 {
            let (_, dies) = server.key(&admin).await;
            let (_, lives) = server.key(&admin).await;
            let token = minted(&server, &lives).await;
            let seen = Mortal::on(mortal.deployment.with(&[]));
            let ended = "api_keys WHERE revoked_at IS NOT NULL";
            let of_token = "token_statuses WHERE revoked_at IS NOT NULL";
            mortal
                .until_done(Act::Revoke, &dies, async |when| {
                    seen.is_told(ended, "api_key.revoked", when);
                    assert_eq!(server.swaps(&dies).await, seen.count(ended) == round, "{when}");
                })
                .await;
            mortal
                .until_done(Act::Revoke, &token, async |when| {
                    seen.is_told("revoked_tokens", "token.revoked", when);
                    seen.is_told(of_token, "token.revoked", when);
                    assert_eq!(is_active(&server, &admin, &token).await, seen.count(of_token) == round, "{when}");
                })
                .await;
            assert!(!server.swaps(&dies).await && server.swaps(&lives).await);
            assert!(!is_active(&server, &admin, &token).await);
        }
        server.stop();
        mortal.is_well();
        mortal.kills
    });
}

#[test]
fn a_rotation_of_the_master_key_leaves_every_row_readable() {
    on_both(quick, async |mut mortal| {
        let server = mortal.deployment.serve();
        let full = Full::on(mortal.deployment.with(&[]), &server, 11).await;
        let seen = Mortal::on(mortal.deployment.with(&[]));
        mortal
            .until_done(Act::MasterKey, "", async |when| {
                full.opens(&server, when).await;
                for (state, event) in
                    [("", "registered"), (" WHERE activated_at IS NOT NULL AND version > 1", "activated")]
                {
                    seen.is_told(&format!("master_keys{state}"), &format!("master_key.{event}"), when);
                }
            })
            .await;
        let states: Vec<_> = full.status().into_iter().map(|(_, state, rows)| (state, rows == 0)).collect();
        assert_eq!(states, [("retired".to_owned(), true), ("current".to_owned(), false)]);
        server.stop();
        mortal.is_well();
        mortal.kills
    });
}

/// A token with a status of its own.
async fn minted(server: &Running, key: &str) -> String {
    let body = json!({ "audience": "https://each.test" });
    let answer = server.http.post(server.url("/v1/exchange")).bearer_auth(key).json(&body).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

async fn is_active(server: &Running, admin: &str, token: &str) -> bool {
    let request = server.http.post(server.url("/oauth/introspect")).bearer_auth(admin);
    let answer: Value = form(request, &[("token", token)]).send().await.unwrap().json().await.unwrap();
    answer["active"].as_bool().unwrap()
}
