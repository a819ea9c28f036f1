//! Test support: each test gets its own server on its own database, and helpers for common calls.
#![allow(dead_code, unused_imports, reason = "each part serves some tests and not others")]

pub mod calls;
mod database;
mod directory;
mod jobs;
pub mod keep_alive;
mod locks;
pub mod mount_namespaces;
pub mod panics;
pub mod race;
mod raw_http;
pub mod seeds;
mod server;
pub mod service;
mod verify;
pub mod wire;

pub use database::{Database, Kind, MovedClock, sqlite};
pub use jobs::{MANUAL_JOBS, run_jobs_of, until_jobs};
pub use raw_http::Raw;
pub use server::{Key, Server, body_of, client};
pub use verify::{header_of, verify};

/// Defines a test that runs on both databases: `both! { async fn name(server: Server) { … } }`.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($server:ident: Server $(, $($setting:literal),+)?) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn test($server: crate::support::Server) $body
            $(#[$meta])*
            #[test]
            fn sqlite() {
                crate::support::Server::run(crate::support::Kind::Sqlite, &[$($($setting),+)?], test);
            }
            $(#[$meta])*
            #[test]
            fn postgres() {
                crate::support::Server::run(crate::support::Kind::Postgres, &[$($($setting),+)?], test);
            }
        })*
    };
}
pub(crate) use both;
