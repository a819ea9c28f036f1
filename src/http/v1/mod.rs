//! The management API and the curl form of the exchange.

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

/// An object that changes, with its version as ETag. Nothing keeps it: some of them hold a secret.
fn object(version: i64, body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((ETAG, format!("\"{version}\"")))
        .json(body)
}

/// An object that was made now, or by an earlier request with the same `Idempotency-Key`.
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

/// A list or another answer without a version.
fn plain(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}
