//! Use cases: each function is one operation of the API or of the command line. Each module is one
//! capability.

pub mod access;
pub mod api_keys;
pub mod caller;
pub mod common;
pub mod credentials;
pub mod database_server;
pub mod directory;
pub mod encryption;
pub mod events;
pub mod exchange;
pub mod health;
pub mod integrity;
pub mod introspection;
pub mod lifecycle;
pub mod portal;
pub mod provisioning;
pub mod replicas;
pub mod retention;
pub mod services;
pub mod signing;
pub mod status_lists;
pub mod webhooks;

pub use common::{
    conflict::Conflict,
    error::{Error, InputFault, Unavailable, WriteFileError},
};
pub use services::Services;
