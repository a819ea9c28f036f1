//! The invariants I1 to I18 of the rotation. Three things show them:
//!
//! - the **model** (`world`): a deployment in small in which `domain::rotation` moves the keys and everything else is told again. It is walked
//!   by chance over a long time (`walk`) and searched whole within small bounds (`search`). Its mutants change the model: they prove that
//!   the model would notice, and say nothing of the program.
//! - the **program** (`program`): `service::signing_keys`, the key ring, the witness and the start, in several replicas on one database
//!   whose clock the test sets, walked by chance. What is broken on purpose there is broken at the seams: settings, clock, files, rows.
//! - running servers (`served`, `clocks`, `ring`, `faults`, `master_key`).
//!
//! | | model | program | servers and units |
//! |---|---|---|---|
//! | I1 published before it signs | `World::check`, mutants `Early`, `Unseen` | `Oracle::check`, `ToldOfShorterCaches` | `one_tick_earlier_is_too_early` |
//! | I2 kept after it signed, I7 no token outlives its key | `World::check`, `Gone` | `Oracle::check`, `ToldOfLessLeeway` | |
//! | I3 one key signs, I12 never none, I11 one next key | `World::check_keys` | `Oracle::check_rows`, kills between statements | `served::two_replicas_rotate_once`, `faults` |
//! | I4 what was published stays so | `World::check_served`, `NoWitness`, `NoKeysInWitness`, `Believing` | `Oracle::check_served`, restored backups, `NoWitness`, `Believing` | `master_key::witness` |
//! | I5 signed by what is served | `World::sign` | `Walk::sign`, `Oracle::signed` | `faults::signing` |
//! | I6 the lease | `World::is_fresh`, `NoLease` | `Oracle::signed`, `NoLease` | `faults::signing` |
//! | I8 an emergency | `World::revoke` | `Oracle::revoked`: what was answered comes true | `served::a_key_is_pulled_and_the_answer_says_what_is_still_accepted` |
//! | I9 a kid is given once | `World::check_keys`, `SameKid` | `Oracle::see` | `faults::import` |
//! | I10 the clock | `NoWatch`, `TwoLooks`, `Forgetful` | `Walk::jump`, also between two statements, `NoSteadyClock`, `Forgetful` | `served::a_clock_that_…` |
//! | I13 a due rotation is done | `walk::rotations_come_as_often_as_they_should` | `program::the_program_rotates_as_often_as_it_should` | |
//! | I14 few keys, I15 private halves go | `World::check_keys`, `World::sign` | `Oracle::check_rows`, `Oracle::signed` | |
//! | I16 settings that change | | replicas whose tokens live shorter and longer | `served::where_replicas_differ_the_stricter_setting_holds`, `domain::rotation` |
//! | I17 another algorithm | | | `domain::rotation`, `faults::signing`, `audiences::algorithms` |
//! | I18 the first start | `World::new` | `Walk::begin` | `faults::signing` |
//!
//! By the model alone: a transaction that takes long until its commit (`Unseen`), a clock that is set between a look and a plan without being
//! looked at again (`TwoLooks`), and a verifier that fetches for a kid it does not know.

mod clocks;
mod program;
mod replicas;
mod ring;
mod search;
mod served;
mod walk;
mod world;
