//! `/openapi.json`, and the same for people at `/docs`: Swagger UI, served whole from here and asking nobody else for anything.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS},
    web::Data,
};
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    http::{access::Anyone, problem::Problem, well_known},
    service::{Error, publish::Document},
};

use super::{
    answers::{Asset, Cached, Kept, Page},
    document,
    params::File,
    words,
};

/// The document, the page, and what the page loads; made once.
#[derive(Debug)]
pub struct Pages {
    openapi: Document,
    docs: Document,
    assets: Vec<(&'static str, &'static str, Document)>,
}

/// Nothing from elsewhere, nothing inline but styles (Swagger UI writes some), and in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Kept, and asked for again each time: an update shows at once.
const CACHE_CONTROL: &str = "public, no-cache";

impl Pages {
    /// # Errors
    /// They cannot be written.
    pub fn new(public_url: &str) -> Result<Self, Error> {
        let config = Arc::new(utoipa_swagger_ui::Config::default());
        let mut assets = vec![("start.js", "text/javascript", Document::of_bytes(include_bytes!("docs.js").to_vec()))];
        for (name, content_type) in [
            ("swagger-ui-bundle.js", "text/javascript"),
            ("swagger-ui.css", "text/css"),
            ("favicon-32x32.png", "image/png"),
        ] {
            let file = utoipa_swagger_ui::serve(name, Arc::clone(&config)).ok().flatten();
            let file = file.ok_or_else(|| Error::Internal(format!("Swagger UI has no {name}")))?;
            // Compressed in the program, with this crate's feature `gzip`: a quarter of its size.
            assets.push((name, content_type, Document::of_gzip(&file.bytes)?));
        }
        let docs = Document::of_bytes(include_bytes!("docs.html").to_vec());
        Ok(Self { openapi: document(public_url)?, docs, assets })
    }
}

/// This document.
#[utoipa::path(get, path = "", responses(Cached<OpenApi>))]
pub async fn openapi(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> HttpResponse {
    well_known::kept(&request, &pages.openapi, "application/json", CACHE_CONTROL)
}

/// This document, for people. The page needs nothing from anywhere else.
#[utoipa::path(get, path = "", responses(Page))]
pub async fn docs(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> HttpResponse {
    guarded(well_known::kept(&request, &pages.docs, "text/html; charset=utf-8", CACHE_CONTROL))
}

/// What the page loads.
#[utoipa::path(get, path = "", params(File), responses(Asset))]
pub async fn asset(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let (_, content_type, file) =
        pages.assets.iter().find(|(known, ..)| *known == name).ok_or_else(Problem::not_found)?;
    Ok(guarded(well_known::kept(&request, file, content_type, CACHE_CONTROL)))
}

fn guarded(mut response: HttpResponse) -> HttpResponse {
    for (name, value) in
        [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer"), (X_FRAME_OPTIONS, "DENY")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

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
