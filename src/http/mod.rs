//! HTTP: the routing table and its handlers. A handler parses the request, calls one function of
//! `service` and writes the response.

mod accept;
mod access;
mod api_keys;
mod challenge;
mod connection;
mod cors;
mod credentials;
mod directory;
mod error;
mod events;
mod exchange;
mod extract;
mod introspection;
pub mod oauth_error;
pub mod openapi;
mod operations;
mod portal;
mod problem;
mod response;
mod routes;
pub mod server;
mod signing;
mod status_lists;
pub mod tls;
mod webhooks;

pub use api_keys::bodies::ApiKeyBody;
