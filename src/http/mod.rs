//! HTTP: routes on one screen, and handlers that read, call one service function, and write.

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
