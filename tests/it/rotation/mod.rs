//! The invariants I1 to I18 of the rotation, over a deployment in small: by chance over a long time with every fault, and all there is within
//! small bounds. Mutants prove that both would notice.
//!
//! | | shown by |
//! |---|---|
//! | I1 published before it signs | `World::check`, mutants `Early` and `Unseen`; exactly: `one_tick_earlier_is_too_early` |
//! | I2 kept after it signed, I7 no token outlives its key | `World::check`, mutant `Gone` |
//! | I3 one key signs, I12 never none, I11 one next key | `World::check_keys`; `served::two_replicas_rotate_once`; kills in `faults` |
//! | I4 what was published stays so | `World::check_served`, restored backups among it, mutants `NoWitness`, `NoKeysInWitness`, `Believing`; `master_key::witness` |
//! | I5 signed by what is served | `World::sign`; `faults::signing` |
//! | I6 the lease | `World::is_fresh`, mutant `NoLease`; `faults::signing` |
//! | I8 an emergency | `World::revoke`; `served::a_key_is_pulled_and_the_answer_says_what_is_still_accepted` |
//! | I9 a kid is given once | `World::check_keys`, mutant `SameKid`; `faults::import` |
//! | I10 the clock | jumps in `walk`, mutants `NoWatch`, `TwoLooks`, `Forgetful`; `served::a_clock_that_is_set_forward_fakes_no_wait`, `served::a_clock_that_was_set_back_while_nobody_ran_fakes_no_wait` |
//! | I13 a due rotation is done | `walk::rotations_come_as_often_as_they_should` |
//! | I14 few keys, I15 private halves go | `World::check_keys`, `World::sign` |
//! | I16 settings that change | `served::where_replicas_differ_the_stricter_setting_holds`; `domain::rotation` |
//! | I17 another algorithm, I18 the first start | `domain::rotation`, `faults::signing`, `audiences::algorithms`; `World::new` |

mod clocks;
mod replicas;
mod ring;
mod search;
mod served;
mod walk;
mod world;
