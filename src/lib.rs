//! Keyswap exchanges long-lived API keys for short-lived signed JWTs.
//!
//! `docs/development/architecture.md` lists the layers and their permitted dependencies, and
//! `tests/it/architecture` enforces them.
pub mod app;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod http;
pub mod outbound;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod ui;
