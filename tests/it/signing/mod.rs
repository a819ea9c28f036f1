//! The invariants K1 to K18 of the rotation, checked at three levels:
//!
//! - The **model** (`model`): a small deployment in which `domain::rotation` moves the keys and
//!   everything else is reimplemented. Long random walks (`walk`) and an exhaustive search within
//!   small bounds (`search`) explore it. Its mutants change the model. They show that the model
//!   detects a fault and state nothing about the program.
//! - The **program** (`program`): `service::signing`, the key cache, the rollback guard and the
//!   start, in several replicas on one database whose clock the test sets, explored by random
//!   walks. Faults are injected through settings, clock, files and rows.
//! - Running servers (`served`, `clocks`, `ring`, `faults`, `master_key`).
//!
//! Each invariant, with its checks at each level and, after a semicolon, the injected
//! faults that they detect:
//!
//! - K1 (published before it signs). Model: `Model::check`; `Early`, `CountsBeforeCommit`. Program:
//!   `Oracle::check`; `ConfiguredShorterCaches`. Unit: `activation_one_tick_early_breaks_an_invariant`.
//! - K2 (published as long as its tokens are accepted) and K6 (no token outlives its key). Model:
//!   `Model::check`; `Gone`. Program: `Oracle::check`; `ConfiguredLessLeeway`.
//! - K3 (a published key stays published). Model: `Model::check_served`; `NoRollbackGuard`,
//!   `NoKeysInRollbackGuard`, `AcceptsWithDelays`. Program: `Oracle::check_served` and restored backups;
//!   `NoRollbackGuard`, `AcceptsWithDelays`. Servers: `encryption::rollback_guard`.
//! - K4 (a signing replica serves the key). Model: `Model::sign`. Program: `Walk::sign`,
//!   `Oracle::signed`. Servers: `faults::signing`.
//! - K5 (the staleness limit for signing). Model: `Model::is_fresh`; `NoSnapshotAgeLimit`. Program:
//!   `Oracle::signed`; `NoSnapshotAgeLimit`. Servers: `faults::signing`.
//! - K7 (emergency revocation). Model: `Model::revoke`. Program: `Oracle::revoked`, which records
//!   the guarantees of the response for `Oracle::check`. Servers:
//!   `rotation::emergency_revocation_reports_how_long_tokens_are_accepted`.
//! - K8 (the clock monitor). Model: `NoClockMonitor`, `TwoClockReads`, `ForgetsClock`. Program: `Walk::jump`, also
//!   between two statements; `NoMonotonicClock`, `ForgetsClock`. Servers: `rotation::a_clock_that_…`.
//! - K9 (changed settings). Program: replicas with different token lifetimes. Servers and units:
//!   `rotation::strictest_setting_of_replicas_applies`, `domain::rotation`.
//! - K10 (the first start). Model: `Model::new`. Program: `Walk::begin`. Servers:
//!   `faults::signing`.
//! - K11 (one active key), K13 (at most one next key) and K14 (always a usable active key). Model:
//!   `Model::check_keys`. Program: `Oracle::check_rows`, kills between statements. Servers:
//!   `rotation::two_replicas_rotate_once`, `faults`.
//! - K12 (a kid is never reused). Model: `Model::check_keys`; `SameKid`. Program: `Oracle::see`.
//!   Servers: `faults::import`.
//! - K15 (a due rotation is performed). Model: `random_walk::model_rotates_once_per_period`.
//!   Program: `program::program_rotates_once_per_period`.
//! - K16 (a bounded number of published keys) and K17 (private keys are destroyed). Model:
//!   `Model::check_keys`, `Model::sign`. Program: `Oracle::check_rows`, `Oracle::signed`.
//! - K18 (a change of the algorithm). Servers and units: `domain::rotation`, `faults::signing`,
//!   `audiences::algorithms`.
//!
//! Only the model covers a transaction with a late commit (`CountsBeforeCommit`), a clock that is set
//! between a clock check and a plan without another check (`TwoClockReads`), and a verifier that
//! fetches for an unknown kid.

mod clocks;
mod key_cache;
mod management_tokens;
mod model;
mod program;
mod random_walk;
mod replicas;
mod rotation;
mod search;
