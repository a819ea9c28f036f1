//! Checks that an exchange has not become more expensive: compares its ratio to the baseline with
//! the recorded one. A ratio, unlike a time, is comparable between machines. The best of several
//! tries counts, because other processes can only increase the ratio.

use std::{fs, process::ExitCode, time::Duration};

use keyswap::domain::signing::Algorithm;
use serde::Deserialize;

use super::{
    databases::Database,
    options::Options,
    probe::probe,
    processes::Process,
    runs::{Build, measured},
    seed::Population,
    seed_build,
};

const KEYS: u32 = 10_000;
const CONNECTIONS: u16 = 16;
const SERVER_RUN: Duration = Duration::from_secs(3);
const BASELINE_RUN: Duration = Duration::from_secs(2);
const TRIES: usize = 5;
/// The allowed increase: 50 %.
const WORSE: f64 = 1.5;

const RATIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ratios.toml");

/// The recorded ratios, measured on an idle machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratios {
    sqlite: f64,
    postgres: f64,
}

pub fn check(options: &Options) -> ExitCode {
    let ratios: Ratios = toml::from_str(&fs::read_to_string(RATIOS).expect(RATIOS)).expect(RATIOS);
    let mut good = true;
    for &database in &options.database {
        let known = match database {
            Database::Sqlite => ratios.sqlite,
            Database::Postgres => ratios.postgres,
        };
        let best = best(database, options, known * WORSE);
        println!(
            "{}: {best:.2} times the baseline; {known:.2} is known, and {:.2} allowed",
            database.name(),
            known * WORSE
        );
        good &= best <= known * WORSE;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures until one ratio is at most `enough`, and returns the best one.
fn best(database: Database, options: &Options, enough: f64) -> f64 {
    let algorithm = Algorithm::EdDsa;
    let Build { place, keys } = seed_build(database, &options.server, Population::Service, algorithm, KEYS);
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let server = Process::server(&place, algorithm);
        let answer = probe(&server, algorithm, keys.get(0));
        let (figures, run) = measured(&server, &keys, CONNECTIONS, SERVER_RUN, place.postmaster);
        assert_eq!(run.failures + run.refused, 0, "requests failed: {}", server.said());
        drop(server);
        let baseline = Process::baseline(&place, algorithm, true, &answer);
        let (baseline, _) = measured(&baseline, &keys, CONNECTIONS, BASELINE_RUN, None);
        let ratio = (figures.cpu + figures.database_cpu.unwrap_or_default()) / baseline.cpu;
        eprintln!("{}: {ratio:.2} times the baseline of {:.1} µs", database.name(), baseline.cpu);
        best = best.min(ratio);
        if best <= enough {
            break;
        }
    }
    best
}
