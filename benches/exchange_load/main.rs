//! Benchmark of the exchange: the CPU time of one exchange, compared with a baseline that only
//! responds and signs. `docs/development/performance.md` describes the method and how to read the
//! results.
//!
//!     cargo bench --bench exchange_load -- --keys 100000 --connections 1,16,64
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot measure stops with a message; it reads the clock, and talks to a terminal"
)]

mod api;
mod attack;
mod baseline;
mod check;
mod copies;
mod databases;
mod day;
mod draw;
mod figures;
mod load;
mod options;
mod overload;
mod probe;
mod processes;
mod response;
mod runs;
mod seed;
mod soak;
mod table;
mod usage;

use std::{
    collections::BTreeSet,
    env,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use clap::Parser;
use keyswap::domain::signing::Algorithm;

use databases::{Database, TemporaryDeployment};
use options::Options;
use runs::{Build, Builds, Cell};
use seed::{Keys, Population};

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(baseline::ARGUMENT) {
        return baseline::run(env::args().skip(2));
    }
    let options = Options::parse();
    if options.database.contains(&Database::Postgres) && env::var_os("KEYSWAP_TEST_POSTGRES").is_none() {
        return with_postgres();
    }
    if options.check {
        return check::check(&options);
    }
    if let Some(length) = options.soak {
        return soak::soak(&options, length);
    }
    if let Some(length) = options.day {
        return day::day(&options, length);
    }
    if options.figures {
        return figures::figures(&options);
    }
    if options.overload {
        return overload::overload(&options);
    }
    if options.attack {
        return attack::attack(&options);
    }
    measure(&options)
}

/// Runs this program again under `scripts/with-postgres`, which provides a temporary PostgreSQL
/// server.
fn with_postgres() -> ExitCode {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/with-postgres");
    let this = env::current_exe().expect("the path of this program");
    match Command::new(script).arg(this).args(env::args_os().skip(1)).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!(
                "no PostgreSQL: {script} does not run ({error}). Give KEYSWAP_TEST_POSTGRES and KEYSWAP_TEST_PGDATA, or leave \
                 PostgreSQL out with --database sqlite"
            );
            ExitCode::FAILURE
        }
    }
}

/// Creates a database with keys of the first population, and completes its maintenance.
fn seed_database(
    database: Database,
    options: &Options,
    algorithm: Algorithm,
    count: u32,
) -> (TemporaryDeployment, Arc<Keys>) {
    let Build { place, keys } = seed_build(database, &options.server, options.population[0], algorithm, count);
    (place, keys)
}

fn seed_build(database: Database, program: &Path, population: Population, algorithm: Algorithm, count: u32) -> Build {
    let place = TemporaryDeployment::make(database, program);
    let keys = seed::fill(&place, population, algorithm, count);
    place.settle();
    Build { place, keys }
}

fn measure(options: &Options) -> ExitCode {
    let started = Instant::now();
    let mut cells = Vec::new();
    let mut versions = BTreeSet::new();
    for &database in &options.database {
        for &population in &options.population {
            let seed = |program: &Path| seed_build(database, program, population, options.algorithm[0], options.keys);
            let before = options.before.as_deref().map(seed);
            let builds = Builds { population, current: seed(&options.server), before };
            versions.insert(builds.current.place.version());
            measure_builds(&builds, options, &mut cells);
        }
    }
    println!("{}", table::machine(&versions, options, &cells));
    println!("{}", table::table(&cells));
    eprintln!("took {} s", started.elapsed().as_secs());
    let failures: u64 = cells.iter().map(Cell::failures).sum();
    if failures > 0 {
        eprintln!("{failures} requests failed: the figures are worth nothing");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure_builds(builds: &Builds, options: &Options, cells: &mut Vec<Cell>) {
    for &algorithm in &options.algorithm {
        // With existing keys, a new algorithm would sign only after verifiers have had time to
        // fetch its key.
        builds.all().for_each(|build| build.place.forget_signing_keys());
        for &draw in &options.draw {
            let measured = options.connections.iter();
            cells.extend(measured.map(|&connections| builds.cell(algorithm, draw, connections, options)));
        }
    }
}
