//! Invariant 2: no key or token is granted after the response to the change that ended its grant.
//! Several processes share one database. Clients exchange, validate and introspect a key
//! continuously on each of them while each possible cause ends the grant.
//!
//! A race is one change and one connection on which requests continue: each round is one change and
//! has as many races as there are clients on all processes. On every change of the code, each cause
//! has three or six rounds with two processes. `scripts/prove races` runs at least a hundred
//! thousand races with four processes on each database. `KEYSWAP_RACE_ROUNDS` sets the rounds of
//! each cause.

mod cause;
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
use cause::{API, Cause, Owner};
use fixture::Fixture;
use requests::{AFTER, Change, Client, RequestKind, Requests, too_late};

/// Rounds of each cause. On every change, the frequent causes run `SAMPLE` additional ones.
const SAMPLE: usize = 3;
/// The minimum number of races on each database in `scripts/prove`.
const FULL_RACES: usize = 100_000;

const SAMPLE_PROCESSES: usize = 2;
const FULL_PROCESSES: usize = 4;

/// The clients on each server: one that exchanges without pause, and four that pause between
/// requests, as real clients and services do.
const CLIENTS: [(RequestKind, Duration); 5] = [
    (RequestKind::Exchange, Duration::ZERO),
    (RequestKind::Exchange, Duration::from_millis(1)),
    (RequestKind::ExchangeForAudience, Duration::from_millis(1)),
    (RequestKind::Validate, Duration::from_millis(1)),
    (RequestKind::Introspect, Duration::from_millis(1)),
];

/// What a test runs.
#[derive(Clone, Copy)]
struct Plan {
    processes: usize,
    /// Rounds of every cause, and then of the causes in `more`.
    rounds: usize,
    more: &'static [Cause],
    /// Whether clients use each response twice.
    reuses: bool,
}

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

/// Runs the rounds of a plan. Stops at the first permission that is granted too late, and returns
/// it with its cause.
async fn go(deployment: &Deployment, plan: Plan) -> Option<(Vec<RequestKind>, Cause, Owner)> {
    let mut fixture = Fixture::new(deployment, plan.processes).await;
    let mut clients = clients(&fixture, plan.reuses).await;
    for number in 0..2 * plan.rounds {
        let causes: &[Cause] = if number < plan.rounds { &Cause::ALL } else { plan.more };
        for (position, &cause) in causes.iter().enumerate() {
            let round = Round::new(cause, number, position, plan.processes);
            let late;
            (clients, late) = round.run(&mut fixture, clients).await;
            if !late.is_empty() {
                return Some((late, cause, round.owner));
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
struct Round {
    cause: Cause,
    owner: Owner,
    /// The server that makes the change, and the one that reverts it.
    changes_at: usize,
    restores_at: usize,
    /// Whether services show a token that was issued for the key.
    shows_token: bool,
    /// The time from the first grants to the change.
    delay: Duration,
}

impl Round {
    /// Varies the server, the owner of the key, what services show, and the point of an exchange at
    /// which the change arrives.
    fn new(cause: Cause, number: usize, position: usize, processes: usize) -> Self {
        let (turn, changes_at) = (number / processes, number % processes);
        let owners = cause.owners();
        Self {
            cause,
            owner: owners[(number + turn + position) % owners.len()],
            changes_at,
            // Restored through another server, so that each server processes both kinds of change.
            restores_at: (changes_at + 1) % processes,
            shows_token: turn % 2 == 1 || cause.shows_in_tokens_alone(),
            delay: Duration::from_micros((number * 5 + position) as u64 % 8 * 400),
        }
    }

    async fn run(&self, fixture: &mut Fixture, clients: Vec<Client>) -> (Vec<Client>, Vec<RequestKind>) {
        let Self { cause, owner, .. } = *self;
        let key = fixture.value(owner);
        let audience = cause.audience().unwrap_or(API);
        let shown = if self.shows_token { fixture.token(self.changes_at, key, audience).await } else { key.to_owned() };
        let requests = Arc::new(Requests::of(key, &shown, &fixture.admin, cause));
        let change = Arc::new(Change { granted: Semaphore::new(0), answered: OnceLock::new() });
        let everyone = u32::try_from(clients.len()).unwrap();
        let mut asking = JoinSet::new();
        for asker in clients {
            asking.spawn(asker.go_on(Arc::clone(&requests), Arc::clone(&change)));
        }
        let begun = timeout(Duration::from_secs(20), change.granted.acquire_many(everyone)).await;
        let _begun = begun.unwrap_or_else(|_| panic!("{cause:?}, {owner:?}: refused before anything was taken away"));
        sleep(self.delay).await;
        let (answered, done) = fixture.end(cause, owner, self.changes_at).await;
        change.answered.set(answered).unwrap();
        let all = timeout(Duration::from_secs(60), asking.join_all()).await.unwrap();
        let mut late = Vec::new();
        let mut clients = Vec::new();
        for (asker, seen) in all {
            assert!(seen.iter().filter(|one| one.began > answered).count() >= AFTER, "it went on for long enough");
            late.extend(too_late(&seen, answered));
            clients.push(asker);
        }
        fixture.restore(cause, owner, self.restores_at, &done).await;
        (clients, late)
    }
}

each! {
    async fn no_request_after_the_response_is_granted(deployment: Deployment) {
        let more = &Cause::FREQUENT;
        let plan = Plan { processes: SAMPLE_PROCESSES, rounds: SAMPLE, more, reuses: false };
        let late = go(&deployment, plan).await;
        assert!(late.is_none(), "granted too late: {late:?}");
    }

    async fn reused_answer_is_detected(deployment: Deployment) {
        let plan = Plan { processes: SAMPLE_PROCESSES, rounds: SAMPLE, more: &[], reuses: true };
        assert!(go(&deployment, plan).await.is_some(), "the mutant was not detected");
    }
}

fn many(kind: Kind) {
    let began = std::time::Instant::now();
    let races_per_round = Cause::ALL.len() * CLIENTS.len() * FULL_PROCESSES;
    let enough = FULL_RACES.div_ceil(races_per_round);
    let rounds = std::env::var("KEYSWAP_RACE_ROUNDS").map_or(enough, |text| text.parse().unwrap());
    let plan = Plan { processes: FULL_PROCESSES, rounds, more: &[], reuses: false };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let late = runtime.block_on(go(&Deployment::new(kind), plan));
    panics::assert_none();
    eprintln!(
        "exactness, {kind:?}: {} races in {rounds} rounds of {} causes with {FULL_PROCESSES} processes, {} s",
        rounds * races_per_round,
        Cause::ALL.len(),
        began.elapsed().as_secs()
    );
    assert!(late.is_none(), "granted too late: {late:?}");
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn a_hundred_thousand_races_of_four_processes_on_sqlite() {
    many(Kind::Sqlite);
}

#[test]
#[ignore = "takes minutes: scripts/prove races"]
fn a_hundred_thousand_races_of_four_processes_on_postgres() {
    many(Kind::Postgres);
}
