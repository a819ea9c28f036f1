//! The invariants K1 to K18 of the rotation, checked at three levels:
//!
//! - The **model** (`world`): a small deployment in which `domain::rotation` moves the keys and
//!   everything else is reimplemented. Long random walks (`walk`) and an exhaustive search within
//!   small bounds (`search`) explore it. Its mutants change the model. They show that the model
//!   detects a fault and state nothing about the program.
//! - The **program** (`program`): `service::signing_keys`, the key ring, the rollback guard and the
//!   start, in several replicas on one database whose clock the test sets, explored by random
//!   walks. Faults are injected through settings, clock, files and rows.
//! - Running servers (`served`, `clocks`, `ring`, `faults`, `master_key`).
//!
//! Each invariant, with its checks at each level and, after a semicolon, the injected
//! faults that they detect:
//!
//! - K1 (published before it signs). Model: `World::check`; `Early`, `Unseen`. Program:
//!   `Oracle::check`; `ToldOfShorterCaches`. Unit: `one_tick_earlier_is_too_early`.
//! - K2 (published as long as its tokens are accepted) and K6 (no token outlives its key). Model:
//!   `World::check`; `Gone`. Program: `Oracle::check`; `ToldOfLessLeeway`.
//! - K3 (a published key stays published). Model: `World::check_served`; `NoWitness`,
//!   `NoKeysInWitness`, `Believing`. Program: `Oracle::check_served` and restored backups;
//!   `NoWitness`, `Believing`. Servers: `master_key::witness`.
//! - K4 (a signing replica serves the key). Model: `World::sign`. Program: `Walk::sign`,
//!   `Oracle::signed`. Servers: `faults::signing`.
//! - K5 (the staleness limit for signing). Model: `World::is_fresh`; `NoLease`. Program:
//!   `Oracle::signed`; `NoLease`. Servers: `faults::signing`.
//! - K7 (emergency revocation). Model: `World::revoke`. Program: `Oracle::revoked`, which records
//!   the guarantees of the response for `Oracle::check`. Servers:
//!   `rotation::a_key_is_pulled_and_the_answer_says_what_is_still_accepted`.
//! - K8 (the clock monitor). Model: `NoWatch`, `TwoLooks`, `Forgetful`. Program: `Walk::jump`, also
//!   between two statements; `NoSteadyClock`, `Forgetful`. Servers: `rotation::a_clock_that_…`.
//! - K9 (changed settings). Program: replicas with different token lifetimes. Servers and units:
//!   `rotation::where_replicas_differ_the_stricter_setting_holds`, `domain::rotation`.
//! - K10 (the first start). Model: `World::new`. Program: `Walk::begin`. Servers:
//!   `faults::signing`.
//! - K11 (one active key), K13 (at most one next key) and K14 (always a usable active key). Model:
//!   `World::check_keys`. Program: `Oracle::check_rows`, kills between statements. Servers:
//!   `rotation::two_replicas_rotate_once`, `faults`.
//! - K12 (a kid is never reused). Model: `World::check_keys`; `SameKid`. Program: `Oracle::see`.
//!   Servers: `faults::import`.
//! - K15 (a due rotation is performed). Model: `random_walk::rotations_come_as_often_as_they_should`.
//!   Program: `program::the_program_rotates_as_often_as_it_should`.
//! - K16 (a bounded number of published keys) and K17 (private keys are destroyed). Model:
//!   `World::check_keys`, `World::sign`. Program: `Oracle::check_rows`, `Oracle::signed`.
//! - K18 (a change of the algorithm). Servers and units: `domain::rotation`, `faults::signing`,
//!   `audiences::algorithms`.
//!
//! Only the model covers a transaction with a late commit (`Unseen`), a clock that is set
//! between a clock check and a plan without another check (`TwoLooks`), and a verifier that
//! fetches for an unknown kid.

mod clocks;
mod key_cache;
mod model;
mod program;
mod random_walk;
mod replicas;
mod rotation;
mod search;
