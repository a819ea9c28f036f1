//! Invariant 2: no key or token is granted after the response to the change that ended its grant.
//! Two processes share one database. Clients exchange, validate and introspect a key continuously
//! on both while each possible cause ends the grant. On every change, each cause has three or six
//! rounds; `scripts/prove races` runs four hundred of each, on each database.

mod fixture;
mod requests;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::process::{Deployment, each};
use crate::support::{Kind, keep_alive::KeepAlive, panics};
use fixture::{Cause, Fixture};
use requests::{AFTER, Change, Client, RequestKind, Requests, too_late};

/// Rounds of each cause. On every change, the frequent causes run `SAMPLE` additional ones.
const SAMPLE: usize = 3;
const FULL: usize = 400;

/// The clients on each server: one that exchanges without pause, and three that pause between
/// requests, as real clients and services do.
const CLIENTS: [(RequestKind, Duration); 4] = [
    (RequestKind::Exchange, Duration::ZERO),
    (RequestKind::Exchange, Duration::from_millis(1)),
    (RequestKind::Validate, Duration::from_millis(1)),
    (RequestKind::Introspect, Duration::from_millis(1)),
];

async fn clients(fixture: &Fixture, reuses: bool) -> Vec<Client> {
    let mut clients = Vec::new();
    for server in &fixture.servers {
        for (ask, breath) in CLIENTS {
            let line = KeepAlive::open(&server.base).await.unwrap();
            clients.push(Client { line, ask, breath, reuses, kept: None });
        }
    }
    clients
}

/// Runs `rounds` rounds of every cause and then `rounds` rounds of the causes in `more`. Stops at
/// the first permission that is granted too late, and returns it with its cause.
async fn go(deployment: &Deployment, rounds: usize, more: &[Cause], reuses: bool) -> Option<(Vec<RequestKind>, Cause)> {
    let mut fixture = Fixture::new(deployment).await;
    let mut clients = clients(&fixture, reuses).await;
    for round in 0..2 * rounds {
        let causes = if round < rounds { &Cause::ALL } else { more };
        for (number, &cause) in causes.iter().enumerate() {
            // Alternates between the servers, and between the key and a token issued for it.
            let (at, shows_token) = (round % 2, round / 2 % 2 == 1 || cause.shows_in_tokens_alone());
            let late;
            (clients, late) = once(&mut fixture, clients, cause, at, shows_token, round * 5 + number).await;
            if !late.is_empty() {
                return Some((late, cause));
            }
        }
    }
    for server in fixture.servers {
        server.stop();
    }
    None
}

/// One round: every client is granted the permission, then the grant ends, and all clients
/// continue.
async fn once(
    fixture: &mut Fixture,
    clients: Vec<Client>,
    cause: Cause,
    at: usize,
    shows_token: bool,
    number: usize,
) -> (Vec<Client>, Vec<RequestKind>) {
    let key = fixture.value(cause);
    let shown = if shows_token { fixture.token(at, key).await } else { key.to_owned() };
    let requests = Arc::new(Requests::of(key, &shown, &fixture.admin));
    let change = Arc::new(Change { granted: Semaphore::new(0), answered: OnceLock::new() });
    let everyone = u32::try_from(clients.len()).unwrap();
    let mut asking = JoinSet::new();
    for asker in clients {
        asking.spawn(asker.go_on(Arc::clone(&requests), Arc::clone(&change)));
    }
    let begun = timeout(Duration::from_secs(20), change.granted.acquire_many(everyone)).await;
    let _begun = begun.unwrap_or_else(|_| panic!("{cause:?}: refused before anything was taken away"));
    // Varies the point of an exchange at which the change arrives.
    sleep(Duration::from_micros(number as u64 % 8 * 400)).await;
    let (answered, done) = fixture.end(cause, at).await;
    change.answered.set(answered).unwrap();
    let all = timeout(Duration::from_secs(60), asking.join_all()).await.unwrap();
    let mut late = Vec::new();
    let mut clients = Vec::new();
    for (asker, seen) in all {
        assert!(seen.iter().filter(|one| one.began > answered).count() >= AFTER, "it went on for long enough");
        late.extend(too_late(&seen, answered));
        clients.push(asker);
    }
    // Restored through the other server, so that each server processes both kinds of change.
    fixture.restore(cause, 1 - at, &done).await;
    (clients, late)
}

each! {
    async fn no_request_after_the_response_is_granted(deployment: Deployment) {
        let late = go(&deployment, SAMPLE, &Cause::FREQUENT, false).await;
        assert!(late.is_none(), "granted too late: {late:?}");
    }

    async fn reused_answer_is_detected(deployment: Deployment) {
        assert!(go(&deployment, SAMPLE, &[], true).await.is_some(), "the mutant was not detected");
    }
}

fn many(kind: Kind) {
    let began = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let late = runtime.block_on(go(&Deployment::new(kind), FULL, &[], false));
    panics::assert_none();
    eprintln!("exactness, {kind:?}: {} rounds in {} s", FULL * Cause::ALL.len(), began.elapsed().as_secs());
    assert!(late.is_none(), "granted too late: {late:?}");
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn four_hundred_rounds_of_each_cause_on_sqlite() {
    many(Kind::Sqlite);
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn four_hundred_rounds_of_each_cause_on_postgres() {
    many(Kind::Postgres);
}
