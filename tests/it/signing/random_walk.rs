//! Long random walks of the model with all faults.

use super::model::{Bounds, Kind, Model, Mutant};
use crate::support::seeds::{Random, seeds};

/// The period is shorter than the propagation delay, so that each key signs as soon as it may.
const BOUNDS: Bounds = Bounds { cache: 20, staleness: 6, leeway: 3, skew: 2, ttl: 9, period: 25, commit: 4 };
const KINDS: [Kind; 5] = [Kind::Fixed, Kind::Fixed, Kind::Refetching, Kind::BehindCache, Kind::Once];

/// Faults besides kills and partitions.
#[derive(Debug, Clone, Copy)]
struct Faults {
    jumps: bool,
    revocations: bool,
    /// The machines use the database clock.
    shared: bool,
    /// Older backups are restored.
    restores: bool,
}

fn walk(seed: u64, ticks: u32, mutant: Mutant, faults: Faults) -> Result<Model, String> {
    let chance = &mut Random::new(seed);
    let mut model = Model::new(BOUNDS, mutant, 3, &KINDS);
    model.shared = faults.shared;
    for verifier in &mut model.verifiers {
        verifier.off = chance.within(BOUNDS.skew);
    }
    model.verifiers[0].off = -i64::try_from(BOUNDS.skew).unwrap();
    for replica in &mut model.replicas {
        replica.off = chance.within(BOUNDS.skew / 2);
    }
    for _ in 0..ticks {
        if faults.jumps && chance.one_in(400) {
            // More than the tolerated difference of two clocks.
            let by = i64::try_from(2 * BOUNDS.skew + 1 + chance.below(3 * BOUNDS.cache)).unwrap();
            jump(&mut model, if chance.one_in(3) { -by } else { by }, chance.one_in(2));
        }
        if faults.restores {
            if chance.one_in(200) {
                model.back_up();
            }
            if chance.one_in(400) {
                model.restore();
            }
            if model.newest.is_some() && chance.one_in(30) {
                if chance.one_in(2) { model.accept() } else { model.undo_restore() }
            }
        }
        if faults.revocations && chance.one_in(600) {
            model.revoke();
        }
        for replica in 0..model.replicas.len() {
            let of = &mut model.replicas[replica];
            if of.up && chance.one_in(150) {
                // `kill -9`.
                of.up = false;
            } else if !of.up && chance.one_in(15) {
                model.start(replica, chance.within(BOUNDS.skew / 2));
            }
            let of = &mut model.replicas[replica];
            if !of.up {
                continue;
            }
            of.cut_off = if of.cut_off { !chance.one_in(12) } else { chance.one_in(80) };
            if chance.one_in(3) {
                model.refresh(replica);
            }
            if chance.one_in(3) {
                model.tick(replica, i64::try_from(chance.below(BOUNDS.commit + 1)).unwrap());
            }
            if chance.one_in(2) {
                model.sign(replica).map_err(|fault| format!("seed {seed}: {fault}"))?;
            }
        }
        // Random choices alone rarely reach the worst cases: the oldest snapshot that may still
        // sign is used to sign, or lacks a key while a verifier fetches from it; and a verifier
        // with a slow clock fetches just after a key was removed.
        for replica in 0..model.replicas.len() {
            let oldest = model.replicas[replica].up && model.is_at_its_oldest(replica);
            if oldest {
                model.sign(replica).map_err(|fault| format!("seed {seed}: {fault}"))?;
            }
            let up_to_date = model.replicas[replica].up && model.is_fresh(replica) && !model.lacks_a_key(replica);
            if (oldest && model.lacks_a_key(replica)) || (up_to_date && model.a_key_went_now()) {
                model.fetch_from(0, replica);
            }
        }
        let from = usize::try_from(chance.below(3)).unwrap();
        for verifier in 0..model.verifiers.len() {
            // The verifier restarts or is replaced.
            if chance.one_in(30) {
                model.fetch(verifier, from);
            }
        }
        model.check().map_err(|fault| format!("seed {seed}: {fault}"))?;
        model.pass(from);
        model.check().map_err(|fault| format!("seed {seed}: {fault}"))?;
    }
    Ok(model)
}

/// Sets the clock. With `between`, sets it after a replica has checked the clock and before it
/// plans.
fn jump(model: &mut Model, by: i64, between: bool) {
    if model.shared && by > 0 {
        // The machine clock jumps as well, so only a running replica can detect the
        // jump (docs/development/decisions/025-signing-key-rotation.md).
        let watches = |one: &usize| {
            let of = &model.replicas[*one];
            of.up && !of.cut_off && of.watched.is_some()
        };
        let Some(watcher) = (0..model.replicas.len()).find(watches) else { return };
        model.offset += by;
        model.jumps += 1;
        model.tick(watcher, 0);
        return;
    }
    model.jumps += 1;
    if model.shared {
        // No replica is running, so only the recorded time reveals the jump.
        for replica in &mut model.replicas {
            replica.up = false;
        }
        model.offset += by;
    } else if between {
        model.sneaks += by;
    } else {
        model.offset += by;
    }
}

const ALL: Faults = Faults { jumps: true, revocations: true, shared: false, restores: false };
const NO_JUMPS: Faults = Faults { jumps: false, ..ALL };
const ONE_CLOCK: Faults = Faults { shared: true, ..ALL };
const RESTORES: Faults = Faults { restores: true, ..NO_JUMPS };
const MIXES: [Faults; 4] = [ALL, NO_JUMPS, ONE_CLOCK, RESTORES];

fn mix(seed: u64) -> Faults {
    MIXES[usize::try_from(seed % 4).unwrap()]
}

fn first_fault(mutant: Mutant, faults: Faults) -> Option<String> {
    (1..=200).find_map(|seed| walk(seed, 3_000, mutant, faults).err())
}

#[test]
fn no_valid_token_is_refused_in_random_walks() {
    let (mut rotations, seeds) = (0, seeds(1..41, 1));
    for seed in &seeds {
        rotations += walk(*seed, 3_000, Mutant::None, mix(*seed)).unwrap().rotations as usize;
    }
    assert!(rotations > 20 * seeds.len(), "{rotations} rotations are too few to say anything");
}

#[test]
#[ignore = "takes minutes: scripts/prove rotation"]
fn no_valid_token_is_refused_in_long_random_walks() {
    let began = std::time::Instant::now();
    let (mut rotations, mut ticks) = (0_u64, 0_u64);
    for seed in seeds(0..0, 10_000) {
        rotations += u64::from(walk(seed, 3_000, Mutant::None, mix(seed)).unwrap().rotations);
        ticks += 3_000;
    }
    eprintln!("rotation: {ticks} ticks, {rotations} rotations in {} s, none refused", began.elapsed().as_secs());
}

#[test]
fn random_walk_detects_mutants() {
    for mutant in [Mutant::Early, Mutant::Gone, Mutant::NoSnapshotAgeLimit, Mutant::SameKid, Mutant::CountsBeforeCommit]
    {
        assert!(first_fault(mutant, NO_JUMPS).is_some(), "{mutant:?} was not noticed");
    }
    assert!(first_fault(Mutant::NoClockMonitor, ALL).is_some(), "a missing clock monitor was not detected");
    assert!(
        first_fault(Mutant::TwoClockReads, ALL).is_some(),
        "the clock was set between two looks, and it was not noticed"
    );
    assert!(first_fault(Mutant::ForgetsClock, ONE_CLOCK).is_some(), "a start forgot the clock, and it was not noticed");
    for mutant in [Mutant::NoRollbackGuard, Mutant::NoKeysInRollbackGuard, Mutant::AcceptsWithDelays] {
        assert!(first_fault(mutant, RESTORES).is_some(), "{mutant:?} was not noticed");
    }
}

/// Invariant K15: a due rotation is performed within its period and the delays it requires.
#[test]
fn model_rotates_once_per_period() {
    let mut model = Model::new(BOUNDS, Mutant::None, 3, &KINDS);
    let ticks = 4_000;
    for tick in 0..ticks {
        for replica in 0..3 {
            model.refresh(replica);
        }
        model.tick(tick % 3, 0);
        model.pass(0);
        model.check().unwrap();
    }
    // The propagation delay exceeds the period here. The publication, its observation and the next
    // plan take one tick each.
    let wait = usize::try_from(BOUNDS.period.max(BOUNDS.cache + BOUNDS.staleness + BOUNDS.skew)).unwrap();
    assert!(model.rotations >= u32::try_from(ticks / (wait + 3)).unwrap(), "{}", model.rotations);
}

/// Invariant K1, exactly: a manual rotation is refused until the first safe tick.
#[test]
fn activation_one_tick_early_breaks_an_invariant() {
    let model = Model::new(BOUNDS, Mutant::None, 1, &KINDS);
    let next = &model.keys[1].info;
    let wait = i64::try_from(BOUNDS.cache + BOUNDS.staleness + BOUNDS.skew).unwrap();
    let from = model.rules().activation_time(next, next.published_at).unwrap();
    assert_eq!(from.seconds(), model.now + wait);
}
