//! HTTP: the routing table and its handlers. A handler parses the request, calls one function of
//! `service` and writes the response.

mod access;
mod assets;
mod body;
mod cors;
mod oauth;
pub mod openapi;
mod ops;
mod pages;
mod problem;
mod rate_limit;
mod replaced;
mod request;
mod routes;
pub mod server;
mod v1;
mod well_known;

pub use v1::api_keys::KeyBody;
