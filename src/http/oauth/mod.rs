//! The OAuth endpoints: token (RFC 6749 §3.2), introspection and revocation.

mod client;
mod client_auth;
pub mod error;
pub mod form;
pub mod introspect;
pub mod revoke;
pub mod token;
