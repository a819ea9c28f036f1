//! Domain layer: the types and rules of Keyswap, as pure functions. Nothing here uses a database, a
//! network, a clock or a source of randomness: the current time and a source of random bytes are
//! passed as arguments.
//!
//! This layer depends on no other layer.

pub mod access;
pub mod address;
pub mod api_key;
pub mod api_key_value;
pub mod audience;
mod base62;
pub mod branding;
pub mod claim_map;
pub mod claims;
pub mod delivery;
pub mod directory;
pub mod entropy;
pub mod event;
pub mod foreign;
pub mod grant;
pub mod id;
pub mod introspection;
pub mod json;
pub mod master_key;
pub mod name;
pub mod notice;
pub mod origin;
pub mod page;
pub mod permission;
pub mod policy;
pub mod portal_session;
pub mod resource;
pub mod role;
pub mod rotation;
pub mod service_client;
pub mod signing;
pub mod standing;
pub mod status_list;
pub mod time;
pub mod token_shape;
pub mod usage;
pub mod validation;
pub mod webhook;
