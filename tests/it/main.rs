//! The integration test binary. It tests through HTTP and the public library, on
//! SQLite and PostgreSQL.
//!
//! A test declared with `both!` runs once per database. `KEYSWAP_TEST_POSTGRES` names the
//! PostgreSQL server (`scripts/with-postgres` starts one). Without it the PostgreSQL tests fail;
//! they are never skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "tests may stop at the first surprise, and read clocks"
)]

mod support;

mod access;
mod api_keys;
mod architecture;
mod cli;
mod command_line;
mod credentials;
mod directory;
mod encryption;
mod events;
mod exchange;
mod faults;
mod features;
mod idempotency;
mod introspection;
mod invalid_requests;
mod jobs;
mod openapi;
mod portal;
mod properties;
mod provisioning;
mod scale;
mod signing;
mod standards;
mod status_lists;
mod store;
mod webhooks;
