//! CORS for `/v1` (Fetch §3.2). Pages of the configured origins may call it with a token in a
//! header. Cookies are never accepted across origins.

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, RETRY_AFTER};

use crate::{domain::common::origin::Origin, http::extract::request::REQUEST_ID};

/// Lifetime of a cached preflight response, in seconds.
const MAX_AGE: usize = 600;

pub fn build_v1_cors(origins: &[Origin]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH, HeaderName::from_static("idempotency-key")])
        .expose_headers([ETAG, RETRY_AFTER, REQUEST_ID, HeaderName::from_static("idempotency-replayed")])
        .max_age(MAX_AGE);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin.as_str()))
}
