//! Keyswap swaps long-lived API keys for short-lived signed JWTs.
//!
//! The rooms, and what each may lean on, are listed in `docs/house.md`; `tests/it/house.rs` holds them to it.
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod outbound;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod ui;
