//! The goodput at three times the highest load, compared with the highest load itself. The server
//! and the client each get half of the cores, so that the work of the client does not slow down the
//! server.

use std::{process::ExitCode, thread::available_parallelism, time::Duration};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use super::{
    load::{Load, Rate, RequestKind, Run},
    options::Options,
    processes::Process,
    runs::WARM_UP,
    seed_database,
};

const CONNECTIONS: u16 = 64;
/// Enough connections for three times the highest load while each one waits for its response.
const CLIENTS: u16 = 4_096;
/// A token counts as served in time within this latency.
const IN_TIME: Duration = Duration::from_secs(1);
const TIMES: f64 = 3.0;
const RUNS: usize = 3;
const ENOUGH: f64 = 0.9;

pub fn overload(options: &Options) -> ExitCode {
    let cores = available_parallelism().map_or(1, usize::from);
    assert!(cores > 1, "one core for the server and one for the client");
    let mut good = true;
    for &database in &options.database {
        let (place, keys) = seed_database(database, options, options.algorithm[0], options.keys);
        let (servers, clients) = (cores_of(0..cores / 2), cores_of(cores / 2..cores));
        // PostgreSQL backends inherit the affinity of the postmaster when they start, which is
        // later. The affinity of another user's process cannot be changed.
        let postmaster = place.postmaster.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if postmaster.is_some_and(|pid| sched_setaffinity(Some(pid), &servers).is_err()) {
            eprintln!("{}: PostgreSQL stays on all cores, and takes some of the client's", database.name());
        }
        sched_setaffinity(None, &servers).expect("these cores");
        let server = Process::server(&place, options.algorithm[0]);
        sched_setaffinity(None, &clients).expect("these cores");
        let (mut highest, mut crowded) = (0.0_f64, 0.0_f64);
        for _ in 0..RUNS {
            let length = Duration::from_secs(options.seconds);
            let go = |connections: u16, pace: Rate| -> Run {
                let mut load = Load::connect(server.port, connections, &keys, &RequestKind::exchange(&keys));
                load.run(WARM_UP, pace);
                let run = load.run(length, pace);
                assert_eq!(run.failures, 0, "requests failed: {}", server.said());
                run
            };
            let most = go(CONNECTIONS, Rate::Highest).per_second();
            let crowd = go(CLIENTS, Rate::PerSecond(TIMES * most));
            let goodput = crowd.in_time(IN_TIME) as f64 / crowd.elapsed.as_secs_f64();
            eprintln!(
                "{}: {most:.0}/s at most; of {:.0}/s asked: {goodput:.0}/s in time, {:.0}/s refused, p99 {:.0} ms",
                database.name(),
                (crowd.exchanges + crowd.refused) as f64 / crowd.elapsed.as_secs_f64(),
                crowd.refused as f64 / crowd.elapsed.as_secs_f64(),
                crowd.percentile(0.99) / 1e3
            );
            highest = highest.max(most);
            crowded = crowded.max(goodput);
        }
        let all = cores_of(0..cores);
        sched_setaffinity(None, &all).expect("all cores");
        let _ = postmaster.map(|pid| sched_setaffinity(Some(pid), &all));
        println!(
            "{}: {crowded:.0}/s in time under {TIMES} times the highest load of {highest:.0}/s: {:.0} %",
            database.name(),
            100.0 * crowded / highest
        );
        good &= crowded >= ENOUGH * highest;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores_of(range: std::ops::Range<usize>) -> CpuSet {
    let mut set = CpuSet::new();
    range.for_each(|core| set.set(core));
    set
}
