//! Random walks of the program itself: `service::signing`, the key cache, the rollback guard
//! and the start, on a real database with a clock that the test sets. `model` checks the invariants
//! of the model; this module checks those of the program.

mod backup;
mod clock;
mod deployment;
mod faults;
mod oracle;
mod random_walk;
mod verifiers;

use std::time::Duration;

use deployment::{Broken, Deployment, PERIOD};
use oracle::Oracle;
use random_walk::{Faults, walk};

use crate::support::{
    Kind, panics,
    seeds::{Random, seeds},
};

const ALL: Faults = Faults { jumps: true, emergencies: true, restores: false };
const ONE_CLOCK_RUNS: Faults = Faults { jumps: false, ..ALL };
const RESTORES: Faults = Faults { restores: true, ..ONE_CLOCK_RUNS };
const PLAIN: Faults = Faults { jumps: false, emergencies: false, restores: false };
const MIXES: [Faults; 4] = [ALL, ONE_CLOCK_RUNS, RESTORES, PLAIN];

/// The length of a walk in seconds. It covers several rotations with their propagation delays.
const TICKS: u32 = 60;

fn mix(seed: u64) -> Faults {
    MIXES[usize::try_from(seed % 4).unwrap()]
}

fn walks(kind: Kind, seeds: &[u64]) {
    let began = std::time::Instant::now();
    let mut all = Oracle::default();
    for seed in seeds {
        let walked = walk(kind, *seed, TICKS, Broken::Nothing, mix(*seed)).unwrap();
        all.rotations += walked.rotations;
        all.emergencies += walked.emergencies;
        all.jumps += walked.jumps;
        all.restores += walked.restores;
    }
    let Oracle { rotations, emergencies, jumps, restores, .. } = all;
    eprintln!(
        "rotation of the program on {kind:?}: {} walks, {rotations} rotations, {emergencies} emergencies, {jumps} jumps, {restores} \
         restores in {:.1} s",
        seeds.len(),
        began.elapsed().as_secs_f64()
    );
    panics::assert_none();
    // A single walk that is repeated need not contain every fault.
    let faults = emergencies > 0 && jumps > 0 && restores > 0;
    assert!(seeds.len() == 1 || (faults && rotations > 2 * seeds.len()), "too few to say anything");
}

#[test]
fn invariants_hold_in_random_walks() {
    walks(Kind::Sqlite, &seeds(1..25, 12));
}

#[test]
#[ignore = "takes minutes: scripts/prove rotation"]
fn invariants_hold_in_long_random_walks() {
    walks(Kind::Sqlite, &seeds(0..0, 2_000));
}

#[test]
#[ignore = "takes minutes: scripts/prove rotation"]
fn invariants_hold_in_random_walks_on_postgres() {
    walks(Kind::Postgres, &seeds(1..41, 160));
}

fn first_fault(broken: Broken, faults: Faults) -> Option<String> {
    (1..=300).find_map(|seed| walk(Kind::Sqlite, seed, TICKS, broken, faults).err())
}

fn detects(all: &[(Broken, Faults, &str)]) {
    for (broken, faults, invariant) in all {
        let fault = first_fault(*broken, *faults).unwrap_or_else(|| panic!("{broken:?} was not noticed"));
        eprintln!("{broken:?}: {fault}");
        assert!(fault.contains(invariant), "{broken:?} was noticed for another reason: {fault}");
    }
}

#[test]
fn random_walk_detects_injected_faults() {
    detects(&[
        (Broken::ConfiguredShorterCaches, PLAIN, "K1, K2"),
        (Broken::NoSnapshotAgeLimit, PLAIN, "K5"),
        (Broken::NoRollbackGuard, RESTORES, "K3"),
        (Broken::NoMonotonicClock, ALL, "K1, K2"),
    ]);
}

#[test]
#[ignore = "takes a minute: scripts/prove rotation"]
fn long_random_walk_detects_rare_faults() {
    detects(&[
        (Broken::ConfiguredLessLeeway, PLAIN, "K1, K2"),
        (Broken::ForgetsClock, ALL, "K1, K2"),
        (Broken::AcceptsWithDelays, RESTORES, "K1, K2"),
    ]);
}

/// Invariant K15 for the program: the next run of the job performs a due rotation.
#[test]
fn program_rotates_once_per_period() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut deployment = Deployment::new(Kind::Sqlite, 1, Broken::Nothing);
        deployment.start(0, &mut Random::new(1), None).await;
        let mut oracle = Oracle::default();
        let seconds = 70;
        for _ in 0..seconds {
            deployment.tick(0).await.unwrap();
            oracle.observe(&deployment).await.unwrap();
            deployment.time.pass(Duration::from_secs(1), &deployment.database).await;
        }
        // The propagation delay exceeds the period here. One second is added for the run of the
        // job.
        let wait = PERIOD.max(deployment::CACHE + deployment::STALENESS + deployment::SKEW);
        let due = usize::try_from(seconds / (wait + 1)).unwrap();
        assert!(oracle.rotations >= due, "{} rotations, {due} were due", oracle.rotations);
    });
}
