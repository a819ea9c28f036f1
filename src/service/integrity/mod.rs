//! Rows that were altered outside of Keyswap (invariant 14).

mod accept;
mod check;

pub use accept::accept;
pub use check::{FaultyRow, IntegrityFault, IntegrityReport, check, run_background_check};
