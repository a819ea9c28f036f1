//! An exhaustive search within small bounds: two replicas act in any order and any number of times
//! per tick, and a verifier fetches at any time. A replica refreshes, performs due steps, signs,
//! restarts, or pauses for any duration.

use std::collections::HashSet;

use keyswap::domain::{common::time::Timestamp, signing::SigningKeyState};

use super::model::{Bounds, Kind, Model, Mutant};

const BOUNDS: Bounds = Bounds { cache: 2, staleness: 1, leeway: 1, skew: 0, ttl: 1, period: 2, commit: 1 };
/// In ticks. No delay is longer, so all earlier times are equivalent.
const REACH: i64 = 9;
/// Covers two rotations and a removal with all their delays.
const TICKS: usize = 10;

/// An action within a tick.
#[derive(Debug, Clone, Copy)]
enum Action {
    Refresh(usize),
    /// A replica performs due steps. A key that it publishes is committed in this tick or in the
    /// next.
    Move(usize, i64),
    Sign(usize),
    /// The verifier fetches, preferably from this replica, if it is ready.
    Fetch(usize),
    /// `kill -9` followed by a start.
    Restart(usize),
}

const ACTIONS: [Action; 12] = {
    use Action::{Fetch, Move, Refresh, Restart, Sign};
    [
        Refresh(0),
        Refresh(1),
        Move(0, 0),
        Move(1, 0),
        Move(0, 1),
        Move(1, 1),
        Sign(0),
        Sign(1),
        Fetch(0),
        Fetch(1),
        Restart(0),
        Restart(1),
    ]
};

impl Action {
    fn of(self, model: &mut Model) -> Result<(), String> {
        match self {
            Self::Refresh(replica) => model.refresh(replica),
            Self::Move(replica, commit) => model.tick(replica, commit),
            Self::Sign(replica) => model.sign(replica)?,
            Self::Fetch(replica) => model.fetch(0, replica),
            Self::Restart(replica) => model.start(replica, 0),
        }
        model.check()
    }
}

/// The part of a state that can affect the future: times relative to now, keys relative to the
/// newest key, and replicas in no particular order.
fn shape(model: &Model) -> Vec<i8> {
    let small = |number: i64| i8::try_from(number).unwrap();
    let ago = |time: i64| small((model.now - time).clamp(-REACH, REACH));
    let at = |time: Option<Timestamp>| time.map_or(i8::MIN, |time| ago(time.seconds()));
    let newness = |material: u32| small(i64::from(model.made - material).min(99));
    let mut all = Vec::with_capacity(96);
    let writing = model.writing.iter().map(|(key, commit)| (key, ago(*commit)));
    let keys = model.keys.iter().filter(|key| key.info.state.is_published()).map(|key| (key, ago(key.committed)));
    for (key, committed) in writing.chain(keys) {
        let info = &key.info;
        let state = SigningKeyState::ALL.iter().position(|state| *state == info.state).unwrap();
        let number = small(i64::try_from(state).unwrap());
        all.extend([newness(key.material), number, committed, at(info.seen_at), at(info.activated_at)]);
        all.extend([at(info.retired_at), at(info.destroyed_at), i8::from(key.has_private_half)]);
    }
    all.push(i8::from(model.writing.is_some()) + 100);
    let replica = |number: usize| {
        let of = &model.replicas[number];
        // A stale replica signs nothing, and its JWKS has no guarantee, so its
        // snapshot is irrelevant.
        if !model.is_fresh(number) && model.mutant != Mutant::NoSnapshotAgeLimit {
            return vec![101];
        }
        let signs = of.keys.iter().find(|key| key.info.state == SigningKeyState::Active && key.has_private_half);
        let mut one = vec![ago(of.looked), signs.map_or(-1, |key| newness(key.material)), 101];
        one.extend(model.jwks_of(number).values().map(|material| newness(*material)));
        one
    };
    let mut replicas = [replica(0), replica(1)];
    replicas.sort_unstable();
    replicas.iter().for_each(|one| all.extend(one));
    for verifier in &model.verifiers {
        all.extend([102, ago(verifier.fetched), i8::from(verifier.unpromised)]);
        if !verifier.unpromised {
            all.extend(verifier.jwks.values().map(|material| newness(*material)));
        }
    }
    for token in &model.tokens {
        all.extend([103, newness(token.material), ago(token.exp)]);
    }
    all
}

#[derive(Debug, Default)]
struct Found {
    /// States at the beginning of a tick.
    worlds: usize,
    /// States within a tick, and transitions between them.
    within: usize,
    ways: usize,
}

/// Explores all states reachable within `ticks` ticks. Returns the first violation as an error.
fn search(mutant: Mutant, ticks: usize) -> Result<Found, String> {
    let first = Model::new(BOUNDS, mutant, 2, &[Kind::Fixed]);
    let mut known = HashSet::from([shape(&first)]);
    let (mut frontier, mut found) = (vec![first], Found::default());
    for _ in 0..ticks {
        let mut next = Vec::new();
        // States seen within this tick. Earlier states are only in `frontier`.
        let mut seen = HashSet::new();
        for model in frontier {
            expand(model, &mut seen, &mut found, &mut |mut model| {
                // Removed keys do not affect the future: replicas and tokens carry their own
                // copies.
                model.keys.retain(|key| key.info.state.is_published());
                if known.insert(shape(&model)) {
                    next.push(model);
                }
            })?;
        }
        frontier = next;
    }
    found.worlds = known.len();
    eprintln!("rotation: {mutant:?} {found:?} within {ticks} ticks");
    Ok(found)
}

/// Explores everything that can happen until the end of the tick.
fn expand(
    model: Model,
    seen: &mut HashSet<Vec<i8>>,
    found: &mut Found,
    over: &mut impl FnMut(Model),
) -> Result<(), String> {
    let mut open = Vec::new();
    if seen.insert(shape(&model)) {
        open.push(model);
    }
    while let Some(model) = open.pop() {
        found.within += 1;
        for action in ACTIONS {
            let mut after = model.clone();
            action.of(&mut after).map_err(|fault| format!("{action:?}: {fault}"))?;
            found.ways += 1;
            if seen.insert(shape(&after)) {
                open.push(after);
            }
        }
        // Expired caches are refilled from either replica.
        for from in 0..2 {
            let mut after = model.clone();
            after.pass(from);
            after.check()?;
            over(after);
        }
    }
    Ok(())
}

#[test]
fn invariants_hold_within_small_bounds() {
    let b = BOUNDS;
    let whole = b.cache + 2 * b.staleness + b.leeway + 2 * b.skew + b.ttl + b.period + b.commit;
    assert!(REACH >= i64::try_from(whole).unwrap(), "times are distinguished as far back as the longest delay");
    let found = search(Mutant::None, TICKS).unwrap();
    assert!(found.worlds > 8_000, "{found:?}: too few to say anything");
}

#[test]
#[ignore = "takes minutes: scripts/prove rotation"]
fn invariants_hold_within_larger_bounds() {
    search(Mutant::None, 16).unwrap();
}

#[test]
fn search_detects_mutants() {
    for mutant in [Mutant::Early, Mutant::Gone, Mutant::NoSnapshotAgeLimit, Mutant::CountsBeforeCommit] {
        assert!(search(mutant, TICKS).is_err(), "{mutant:?} was not noticed");
    }
}
