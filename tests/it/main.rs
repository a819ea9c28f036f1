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

mod access_records;
mod actors;
mod architecture;
mod audiences;
mod bad_input;
mod cli;
mod configuration_file;
mod console;
mod exchange;
mod facts;
mod faults;
mod features;
mod foreign;
mod import;
mod introspection;
mod jobs;
mod keys_life;
mod last_used;
mod limits;
mod management;
mod master_key;
mod oauth2_crate;
mod openapi;
mod pages;
mod portal;
mod properties;
mod revocation;
mod rotation;
mod scale;
mod standards;
mod status_lists;
mod store;
mod validation;
mod visibility;
mod walls;
mod webhooks;
