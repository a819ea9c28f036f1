//! The token endpoint (RFC 6749 §3.2) and the wire forms it takes; introspection and revocation beside it.

mod client;
mod client_auth;
pub mod error;
pub mod form;
pub mod introspect;
pub mod revoke;
pub mod token;
