//! A billion exchanges a day: their rate for a long time, while keys and signing keys change and a
//! backup is made.

mod arrivals;
mod changes;
mod latencies;
mod report;
mod samples;
mod schedule;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    databases::{Database, TemporaryDeployment},
    load::RequestKind,
    options::Options,
    probe::probe,
    processes::Process,
    seed::Keys,
    seed_database, table,
};
use arrivals::{Arrivals, Minute};
use changes::{Backup, Changes, Operator, Verification};
use samples::{Sample, Sampler};
use schedule::Schedule;

/// The time for opening connections and starting threads.
const START_DELAY: Duration = Duration::from_millis(200);

/// Signing keys rotate six times in an hour. A new key is published for two minutes before it
/// signs.
const SETTINGS: [&str; 4] = [
    "signing_keys.rotation_period=10m",
    "signing_keys.verifier_cache_ttl=1m",
    // Each ended key is also presented, which the brute-force limiter counts as a failure.
    "brute_force.per_source=1000000",
    "tokens.max_ttl=10m",
];

/// The results of a run on one database.
pub struct Day {
    pub database: Database,
    pub schedule: Schedule,
    pub minutes: Vec<Minute>,
    pub samples: Vec<Sample>,
    pub changes: Changes,
    pub verification: Verification,
    pub backup: Backup,
}

/// Stops the other threads when it is dropped, also by a panic.
struct StopGuard<'a>(&'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn day(options: &Options, length: Duration) -> ExitCode {
    let mut is_good = true;
    for &database in &options.database {
        let (place, keys) = seed_database(database, options, options.algorithm[0], options.keys);
        let version = place.version();
        let day = measure(&place, &keys, options, length);
        println!("{}; {version}; {} keys.\n\n{}", table::hardware(), keys.count(), report::format_table(&day));
        println!("{}", report::summary(&day));
        let faults = report::find_faults(&day);
        faults.iter().for_each(|fault| println!("- Failed: {fault}"));
        is_good &= faults.is_empty();
        println!();
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(place: &TemporaryDeployment, keys: &Arc<Keys>, options: &Options, length: Duration) -> Day {
    let algorithm = options.algorithm[0];
    // The verifiers of the server that created the keys may cache the JWKS for an hour, for which the
    // next key would not sign.
    place.forget_signing_keys();
    let server = Process::server_with(place, algorithm, &SETTINGS);
    probe(&server, algorithm, keys.get(keys.count() - 1));
    let kind = RequestKind::exchange(keys).with_draw(options.draw[0]);
    let schedule = Schedule { begin: Instant::now() + START_DELAY, length };
    let arrivals = Arc::new(Arrivals::new(schedule, server.port, keys, kind));
    let operator = Operator { server: &server, administrator: place.administrator() };
    let sampler = Sampler { place, server: &server };
    let is_stopped = AtomicBool::new(false);
    thread::sleep(START_DELAY);
    thread::scope(|scope| {
        let stop = StopGuard(&is_stopped);
        let sending = scope.spawn(|| arrivals.send(&is_stopped));
        let changing = scope.spawn(|| operator.change_keys(schedule, &is_stopped));
        let verifying = scope.spawn(|| changes::verify_tokens(&server, keys, (schedule, algorithm), &is_stopped));
        let backing_up = scope.spawn(|| changes::back_up(place, schedule, &is_stopped));
        let mut samples = Vec::new();
        eprintln!("{}\n{}", place.database.name(), report::HEAD);
        for minute in 0..schedule.minutes() {
            samples.push(sampler.sample(schedule, minute));
            eprintln!("{}", report::row(schedule, minute, &arrivals.minutes()[minute], &samples));
        }
        sending.join().expect("exchanges were sent");
        let (changes, verification) = (changing.join().expect("changes"), verifying.join().expect("verifications"));
        let backup = backing_up.join().expect("a backup");
        drop(stop);
        Day { database: place.database, schedule, minutes: arrivals.minutes(), samples, changes, verification, backup }
    })
}
