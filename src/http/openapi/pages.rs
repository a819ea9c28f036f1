//! `/openapi.json`, and the same for people at `/docs`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
    web::Data,
};
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    http::{access::Anyone, well_known},
    service::{Error, publish::Document},
};

use super::{
    answers::{Cached, Kept, Page},
    document, words,
};

/// Both documents, made once.
#[derive(Debug)]
pub struct Pages {
    openapi: Document,
    docs: Document,
}

impl Pages {
    /// # Errors
    /// They cannot be written.
    pub fn new(public_url: &str) -> Result<Self, Error> {
        let openapi = document(public_url)?;
        Ok(Self { docs: openapi.clone(), openapi })
    }
}

/// This document.
#[utoipa::path(get, path = "", responses(Cached<OpenApi>))]
pub async fn openapi(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> HttpResponse {
    well_known::kept(&request, &pages.openapi, "application/json", CACHE_CONTROL)
}

/// This document, for people: a page that needs nothing from anywhere else.
#[utoipa::path(get, path = "", responses(Page))]
pub async fn docs(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> HttpResponse {
    let mut response = well_known::kept(&request, &pages.docs, "text/html; charset=utf-8", CACHE_CONTROL);
    for (name, value) in [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Kept, and asked for again each time: an update shows at once.
const CACHE_CONTROL: &str = "public, no-cache";

/// An OpenAPI document.
#[derive(Debug)]
pub struct OpenApi;

impl PartialSchema for OpenApi {
    fn schema() -> RefOr<Schema> {
        words::schema(
            json!({ "type": "object", "additionalProperties": true, "description": "An OpenAPI 3.1 document." }),
        )
    }
}

impl ToSchema for OpenApi {}

impl Kept for OpenApi {
    const CONTENT_TYPE: &'static str = "application/json";
}
