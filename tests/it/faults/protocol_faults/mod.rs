//! Errors and lost answers of PostgreSQL under load. A proxy injects them into the protocol, by a
//! seed. No answer is wrong meanwhile, nothing is half done, and the server recovers by itself.
//! `scripts/prove faults` runs each fault for `KEYSWAP_FAULT_SECONDS`.

mod client;
mod injection;
pub mod messages;
mod outcome;
mod proxy;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    outage::wait_until_recovered,
    process::{Deployment, LONG, until},
};
use crate::support::{Database, Kind, panics, seeds::seeds};
use client::{LoadClient, Tally};
use injection::Fault;
use proxy::ProtocolProxy;

/// How long faults are injected at least before the server must recover.
const WINDOW: Duration = Duration::from_millis(1500);
const CLIENTS: usize = 4;
const SETTINGS: [&str; 4] = [
    "database.connect_timeout=1s",
    "database.statement_timeout=1s",
    "brute_force.per_source=1000000",
    "brute_force.per_credential=1000000",
];

/// Defines a short run of each fault.
macro_rules! short_runs {
    ($($name:ident: $fault:ident,)*) => {
        $(#[test]
        fn $name() {
            run(Fault::$fault, Duration::ZERO);
        })*
    };
}

short_runs! {
    postgres_reports_serialization_failures: SerializationFailure,
    postgres_reports_deadlocks: Deadlock,
    postgres_reports_read_only_transactions: ReadOnly,
    postgres_terminates_connections: Termination,
    postgres_answers_are_lost: LostAnswer,
    postgres_answers_are_incomplete: HalfAnswer,
    postgres_stalls: Stall,
    postgres_is_slow: Delay,
}

#[test]
#[ignore = "takes a minute a fault: scripts/prove faults"]
fn long_run_of_each_fault() {
    let seconds = std::env::var("KEYSWAP_FAULT_SECONDS").map_or(60, |text| text.parse().unwrap());
    for fault in Fault::ALL {
        run(fault, Duration::from_secs(seconds));
    }
}

fn run(fault: Fault, duration: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run_windows(fault, duration));
    panics::assert_none();
}

/// Injects a fault in windows until `duration` has passed, one window at least.
async fn run_windows(fault: Fault, duration: Duration) {
    // The order of concurrent requests is not repeated, only the schedule of each connection.
    let seed = seeds(0..0, 1)[0];
    let database = Arc::new(Database::new(Kind::Postgres));
    let (authority, _) = database.url.rsplit_once('/').unwrap();
    let target = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = ProtocolProxy::start(target, fault, seed);
    let url = database.url.replace(&format!(":{target}/"), &format!(":{}/", proxy.port));
    let deployment = Deployment::on(database, "keys").with(&SETTINGS).with(&[&format!("database.url={url}")]);
    let server = deployment.serve();
    let admin = deployment.admin();
    let (_, key) = server.key(&admin).await;

    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(LoadClient::new(&server, &admin, number, seed).run(Arc::clone(&stop))))
        .collect();
    let began = Instant::now();
    let mut windows = 0;
    while windows == 0 || began.elapsed() < duration {
        let (opened, before, least) = (Instant::now(), proxy.disturbed(), fault.least());
        let is_enough = || async {
            let now = proxy.disturbed();
            opened.elapsed() >= WINDOW && now.0 >= before.0 + least.0 && now.1 >= before.1 + least.1
        };
        proxy.inject(true);
        until("enough requests are disturbed", LONG, is_enough).await;
        proxy.inject(false);
        wait_until_recovered(&server, &admin, &key).await;
        windows += 1;
    }
    stop.store(true, Ordering::SeqCst);
    let (mut keys, mut changes, mut checks) = (Vec::new(), Tally::default(), Tally::default());
    for client in join_all(clients).await {
        let client = client.expect("a client got a wrong answer: see above");
        keys.extend(client.keys);
        changes.add(client.changes);
        checks.add(client.checks);
    }
    eprintln!(
        "{fault:?}, seed {seed}: {windows} windows, requests and commits disturbed: {:?}, {} keys, {changes:?} of changes, {checks:?} of exchanges and validations",
        proxy.disturbed(),
        keys.len()
    );
    outcome::assert_whole(&server, &admin, &keys).await;
    // Without repetition, about four in ten changes would be answered 503.
    let is_repeated = changes.unavailable * 4 <= changes.answered + changes.unavailable;
    assert!(is_repeated || !fault.is_retried(), "{fault:?} is not repeated: {changes:?}");
    assert!(changes.answered > 0 && checks.answered > 0);
    server.stop();
    let doctor = deployment.run(&["doctor"]);
    assert!(doctor.code == Some(0) && doctor.out.contains("hash chain intact"), "{doctor:?}");
    let integrity = deployment.run(&["integrity", "list"]);
    assert_eq!(integrity.code, Some(0), "{integrity:?}");
}
