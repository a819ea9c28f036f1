//! The management API, and the exchange for simple clients.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, ETAG, LOCATION},
};
use serde::Serialize;

/// A response with a versioned object and its version as ETag. It must not be cached, because some
/// objects contain a secret.
pub(crate) fn object(version: i64, body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((ETAG, format!("\"{version}\"")))
        .json(body)
}

/// A response with an object created by this request, or by an earlier one with the same
/// `Idempotency-Key`.
pub(crate) fn created_response(version: i64, location: String, replayed: bool, body: &impl Serialize) -> HttpResponse {
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
pub(crate) fn plain(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}
