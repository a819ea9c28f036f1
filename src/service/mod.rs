//! The rules in motion, one file a capability. A handler or a command calls one function here.

pub mod access_check;
pub mod access_records;
mod administrators;
pub mod api_keys;
pub mod app;
pub mod audiences;
pub mod caller;
pub mod configuration;
pub mod directory;
pub mod error;
pub mod events;
pub mod exchange;
pub mod guessing;
pub mod health;
pub mod idempotency;
pub mod key_ring;
pub mod last_used;
pub mod permissions;
pub mod places;
pub mod portal_sessions;
mod presented;
pub mod proof;
pub mod publish;
mod rate;
pub mod reading;
pub mod roles;
pub mod service_clients;
mod shown;
pub mod signing_keys;
pub mod start;
pub mod validation;
mod version;
pub mod webhooks;

pub use app::{App, Settings};
pub use error::{Error, Fault};
