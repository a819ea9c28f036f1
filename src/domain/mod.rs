//! Domain layer: the types and rules of Keyswap, as pure functions. Nothing here uses a database, a
//! network, a clock or a source of randomness: the current time and a source of random bytes are
//! passed as arguments.
//!
//! This layer depends on no other layer.

pub mod access;
pub mod common;
pub mod credentials;
pub mod directory;
pub mod event_filter;
pub mod events;
pub mod exchange;
pub mod portal;
pub mod signing;
pub mod status_lists;
pub mod webhooks;
