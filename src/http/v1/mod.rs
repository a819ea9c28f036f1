//! The management API, and the exchange for simple clients.

pub mod access_check;
pub mod access_records;
pub mod api_keys;
pub mod audiences;
pub mod branding;
pub mod caller;
pub mod events;
pub mod exchange;
pub mod import;
pub mod json;
pub mod members;
pub mod organizations;
pub mod overview;
mod owner;
mod params;
pub mod permissions;
pub mod portal_sessions;
pub mod roles;
pub mod service_clients;
pub mod signing_keys;
pub mod status_lists;
pub mod usage;
pub mod users;
pub mod validation;
pub mod webhooks;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, ETAG, LOCATION},
};
use serde::Serialize;

/// A response with a versioned object and its version as ETag. It must not be cached, because some
/// objects contain a secret.
fn object(version: i64, body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((ETAG, format!("\"{version}\"")))
        .json(body)
}

/// A response with an object created by this request, or by an earlier one with the same
/// `Idempotency-Key`.
fn created(version: i64, location: String, replayed: bool, body: &impl Serialize) -> HttpResponse {
    let mut response = HttpResponse::Created();
    if replayed {
        response.insert_header(("idempotency-replayed", "true"));
    }
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((ETAG, format!("\"{version}\"")))
        .insert_header((LOCATION, location))
        .json(body)
}

/// A response with a list or another body without a version.
fn plain(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}
