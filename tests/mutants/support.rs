//! Support of the tests that are included.

#[path = "../it/support/seeds.rs"]
pub mod seeds;
