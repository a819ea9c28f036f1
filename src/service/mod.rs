//! Use cases: each function is one operation of the API or of the command line. Each module is one
//! capability.

pub mod access_check;
pub mod access_records;
mod administrators;
pub mod api_keys;
pub mod app;
pub mod audiences;
pub mod branding;
pub mod caller;
pub mod configuration;
pub mod console;
pub mod directory;
pub mod error;
pub mod events;
pub mod exchange;
pub mod exchange_counts;
pub mod guessing;
pub mod health;
pub mod idempotency;
pub mod introspection;
pub mod key_ring;
pub mod last_used;
pub mod master_keys;
pub mod overview;
pub mod permissions;
pub mod places;
pub mod portal_sessions;
mod presented;
pub mod proof;
pub mod publish;
mod rate;
pub mod reading;
pub mod revocation;
pub mod roles;
pub mod service_clients;
mod shown;
pub mod signing_keys;
pub mod start;
pub mod status_lists;
mod tokens;
pub mod validation;
mod version;
pub mod webhooks;
pub mod witness;

pub use app::{App, Settings};
pub use error::{Error, Fault};
