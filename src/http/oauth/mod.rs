//! The token endpoint (RFC 6749 §3.2) and the wire forms it takes.

mod client_auth;
pub mod error;
pub mod form;
pub mod token;
