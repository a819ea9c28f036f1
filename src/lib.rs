//! Keyswap swaps long-lived API keys for short-lived signed JWTs.
//!
//! The rooms, and what each may lean on, are listed in `docs/house.md`; `tests/it/house.rs` holds them to it.
pub mod domain;
pub mod crypto;
pub mod store;
