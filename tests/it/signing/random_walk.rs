//! Long random walks of the model with all faults.

use super::model::{Bounds, Kind, Mutant, World};
use crate::support::seeds::{Chance, seeds};

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

fn walk(seed: u64, ticks: u32, mutant: Mutant, faults: Faults) -> Result<World, String> {
    let chance = &mut Chance::new(seed);
    let mut world = World::new(BOUNDS, mutant, 3, &KINDS);
    world.shared = faults.shared;
    for verifier in &mut world.verifiers {
        verifier.off = chance.within(BOUNDS.skew);
    }
    world.verifiers[0].off = -i64::try_from(BOUNDS.skew).unwrap();
    for replica in &mut world.replicas {
        replica.off = chance.within(BOUNDS.skew / 2);
    }
    for _ in 0..ticks {
        if faults.jumps && chance.one_in(400) {
            // More than the tolerated difference of two clocks.
            let by = i64::try_from(2 * BOUNDS.skew + 1 + chance.below(3 * BOUNDS.cache)).unwrap();
            jump(&mut world, if chance.one_in(3) { -by } else { by }, chance.one_in(2));
        }
        if faults.restores {
            if chance.one_in(200) {
                world.back_up();
            }
            if chance.one_in(400) {
                world.restore();
            }
            if world.newest.is_some() && chance.one_in(30) {
                if chance.one_in(2) { world.accept() } else { world.undo_restore() }
            }
        }
        if faults.revocations && chance.one_in(600) {
            world.revoke();
        }
        for replica in 0..world.replicas.len() {
            let of = &mut world.replicas[replica];
            if of.up && chance.one_in(150) {
                // `kill -9`.
                of.up = false;
            } else if !of.up && chance.one_in(15) {
                world.start(replica, chance.within(BOUNDS.skew / 2));
            }
            let of = &mut world.replicas[replica];
            if !of.up {
                continue;
            }
            of.cut_off = if of.cut_off { !chance.one_in(12) } else { chance.one_in(80) };
            if chance.one_in(3) {
                world.look(replica);
            }
            if chance.one_in(3) {
                world.tick(replica, i64::try_from(chance.below(BOUNDS.commit + 1)).unwrap());
            }
            if chance.one_in(2) {
                world.sign(replica).map_err(|fault| format!("seed {seed}: {fault}"))?;
            }
        }
        // Random choices alone rarely reach the worst cases: the oldest snapshot that may still
        // sign is used to sign, or lacks a key while a verifier fetches from it; and a verifier
        // with a slow clock fetches just after a key was removed.
        for replica in 0..world.replicas.len() {
            let oldest = world.replicas[replica].up && world.is_at_its_oldest(replica);
            if oldest {
                world.sign(replica).map_err(|fault| format!("seed {seed}: {fault}"))?;
            }
            let up_to_date = world.replicas[replica].up && world.is_fresh(replica) && !world.lacks_a_key(replica);
            if (oldest && world.lacks_a_key(replica)) || (up_to_date && world.a_key_went_now()) {
                world.fetch_from(0, replica);
            }
        }
        let from = usize::try_from(chance.below(3)).unwrap();
        for verifier in 0..world.verifiers.len() {
            // The verifier restarts or is replaced.
            if chance.one_in(30) {
                world.fetch(verifier, from);
            }
        }
        world.check().map_err(|fault| format!("seed {seed}: {fault}"))?;
        world.pass(from);
        world.check().map_err(|fault| format!("seed {seed}: {fault}"))?;
    }
    Ok(world)
}

/// Sets the clock. With `between`, sets it after a replica has checked the clock and before it
/// plans.
fn jump(world: &mut World, by: i64, between: bool) {
    if world.shared && by > 0 {
        // The machine clock jumps as well, so only a running replica can detect the
        // jump (docs/development/decisions/025-signing-key-rotation.md).
        let watches = |one: &usize| {
            let of = &world.replicas[*one];
            of.up && !of.cut_off && of.watched.is_some()
        };
        let Some(watcher) = (0..world.replicas.len()).find(watches) else { return };
        world.offset += by;
        world.jumps += 1;
        world.tick(watcher, 0);
        return;
    }
    world.jumps += 1;
    if world.shared {
        // No replica is running, so only the recorded time reveals the jump.
        for replica in &mut world.replicas {
            replica.up = false;
        }
        world.offset += by;
    } else if between {
        world.sneaks += by;
    } else {
        world.offset += by;
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
fn no_valid_token_is_refused_whatever_fails() {
    let (mut rotations, seeds) = (0, seeds(1..41, 1));
    for seed in &seeds {
        rotations += walk(*seed, 3_000, Mutant::None, mix(*seed)).unwrap().rotations as usize;
    }
    assert!(rotations > 20 * seeds.len(), "{rotations} rotations are too few to say anything");
}

#[test]
#[ignore = "takes minutes: scripts/prove rotation"]
fn no_valid_token_is_refused_over_a_long_time() {
    let began = std::time::Instant::now();
    let (mut rotations, mut ticks) = (0_u64, 0_u64);
    for seed in seeds(0..0, 10_000) {
        rotations += u64::from(walk(seed, 3_000, Mutant::None, mix(seed)).unwrap().rotations);
        ticks += 3_000;
    }
    eprintln!("rotation: {ticks} ticks, {rotations} rotations in {} s, none refused", began.elapsed().as_secs());
}

#[test]
fn the_walk_notices_what_is_broken_on_purpose() {
    for mutant in [Mutant::Early, Mutant::Gone, Mutant::NoLease, Mutant::SameKid, Mutant::Unseen] {
        assert!(first_fault(mutant, NO_JUMPS).is_some(), "{mutant:?} was not noticed");
    }
    assert!(first_fault(Mutant::NoWatch, ALL).is_some(), "nobody watched the clock, and it was not noticed");
    assert!(
        first_fault(Mutant::TwoLooks, ALL).is_some(),
        "the clock was set between two looks, and it was not noticed"
    );
    assert!(first_fault(Mutant::Forgetful, ONE_CLOCK).is_some(), "a start forgot the clock, and it was not noticed");
    for mutant in [Mutant::NoWitness, Mutant::NoKeysInWitness, Mutant::Believing] {
        assert!(first_fault(mutant, RESTORES).is_some(), "{mutant:?} was not noticed");
    }
}

/// Invariant K15: a due rotation is performed within its period and the delays it requires.
#[test]
fn rotations_come_as_often_as_they_should() {
    let mut world = World::new(BOUNDS, Mutant::None, 3, &KINDS);
    let ticks = 4_000;
    for tick in 0..ticks {
        for replica in 0..3 {
            world.look(replica);
        }
        world.tick(tick % 3, 0);
        world.pass(0);
        world.check().unwrap();
    }
    // The propagation delay exceeds the period here. The publication, its observation and the next
    // plan take one tick each.
    let wait = usize::try_from(BOUNDS.period.max(BOUNDS.cache + BOUNDS.staleness + BOUNDS.skew)).unwrap();
    assert!(world.rotations >= u32::try_from(ticks / (wait + 3)).unwrap(), "{}", world.rotations);
}

/// Invariant K1, exactly: a manual rotation is refused until the first safe tick.
#[test]
fn one_tick_earlier_is_too_early() {
    let world = World::new(BOUNDS, Mutant::None, 1, &KINDS);
    let next = &world.keys[1].info;
    let wait = i64::try_from(BOUNDS.cache + BOUNDS.staleness + BOUNDS.skew).unwrap();
    let from = world.rules().activation_time(next, next.published_at).unwrap();
    assert_eq!(from.seconds(), world.now + wait);
}
