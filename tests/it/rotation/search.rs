//! All there is, within small bounds: every order in which two replicas can look, act and sign, and a verifier can fetch.

use std::collections::HashSet;

use super::world::{Bounds, Kind, Mutant, World};

const BOUNDS: Bounds = Bounds { cache: 2, staleness: 1, leeway: 1, skew: 0, ttl: 1, period: 2, commit: 1 };
/// Two rotations and a removal fit in, with all their waits.
const TICKS: i64 = 11;

/// Two worlds that differ in nothing that can matter later are one: times are told from now, and no further back than anything reaches.
fn shape(world: &World) -> String {
    let ago = |time: i64| (world.now - time).clamp(-9, 9);
    let mut text = String::new();
    let mut add = |part: String| {
        text.push_str(&part);
        text.push(';');
    };
    let oldest = world.made.saturating_sub(4);
    for key in world.keys.iter().filter(|key| key.info.state.is_published() || key.material > oldest) {
        let at = |time: Option<keyswap::domain::time::Timestamp>| time.map(|time| ago(time.seconds()));
        let info = &key.info;
        add(format!(
            "{} {:?} {:?} {:?} {:?}",
            key.material,
            info.state,
            at(info.seen_at),
            at(info.activated_at),
            at(info.retired_at)
        ));
    }
    if let Some((key, commit)) = &world.writing {
        add(format!("w{} {} {:?}", key.material, commit - world.now, key.info.seen_at.map(|time| ago(time.seconds()))));
    }
    for replica in 0..world.replicas.len() {
        let of = &world.replicas[replica];
        let signs = of.keys.iter().find(|key| key.info.state == keyswap::domain::signing::SigningKeyState::Active);
        add(format!("r{} {:?} {:?}", ago(of.looked), signs.map(|key| key.material), world.jwks_of(replica).values()));
    }
    for verifier in &world.verifiers {
        add(format!("v{} {:?} {}", ago(verifier.fetched), verifier.jwks.values(), verifier.unpromised));
    }
    for token in &world.tokens {
        add(format!("t{} {}", token.material, ago(token.exp)));
    }
    text
}

/// How many worlds there are, or what is wrong with one of them.
fn search(mutant: Mutant) -> Result<usize, String> {
    let mut frontier = vec![World::new(BOUNDS, mutant, 2, &[Kind::Fixed])];
    let mut count = 0;
    for _ in 0..TICKS {
        let mut seen = HashSet::new();
        let mut next = Vec::new();
        for world in &frontier {
            for choice in 0..48_usize {
                let mut world = world.clone();
                let (looks, acts, commit, fetch) = (choice % 4, choice / 4 % 2, choice / 8 % 2, choice / 16);
                for replica in 0..2 {
                    if looks >> replica & 1 == 1 {
                        world.look(replica);
                    }
                }
                if acts == 1 {
                    world.tick(0, i64::try_from(commit).unwrap());
                } else if commit == 1 {
                    // Nothing is written: the same as without.
                    continue;
                }
                for replica in 0..2 {
                    world.sign(replica)?;
                }
                if fetch > 0 {
                    world.fetch(0, fetch - 1);
                }
                world.check()?;
                world.pass(0);
                world.check()?;
                if seen.insert(shape(&world)) {
                    next.push(world);
                }
            }
        }
        count += next.len();
        frontier = next;
    }
    eprintln!("rotation: {count} worlds within {TICKS} ticks");
    Ok(count)
}

#[test]
fn nothing_goes_wrong_within_small_bounds() {
    let count = search(Mutant::None).unwrap();
    assert!(count > 10_000, "{count} worlds are too few to say anything");
}

#[test]
fn the_search_notices_what_is_broken_on_purpose() {
    for mutant in [Mutant::Early, Mutant::Gone, Mutant::NoLease, Mutant::Unseen] {
        assert!(search(mutant).is_err(), "{mutant:?} was not noticed");
    }
}
