//! `/openapi.json` and `/docs`: the OpenAPI document and Swagger UI. The page loads nothing from
//! other hosts.

use std::sync::{Arc, OnceLock};

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
    http::{
        extract::access::Anyone,
        openapi::{
            answers::{Asset, Cached, Kept, Page},
            document,
            params::File,
            signature::Part,
            words,
        },
        problem::Problem,
        signing::well_known,
    },
    service::{
        Error,
        common::document::{Document, once},
    },
};

/// The OpenAPI document, the documentation page and the files that it loads. The documents that are
/// expensive to build are built on first use.
#[derive(Debug)]
pub struct Pages {
    public_url: String,
    openapi: OnceLock<Document>,
    docs: Document,
    start: Document,
    swagger_ui: [(&'static str, &'static str, OnceLock<Document>); 3],
}

/// Content Security Policy: no external resources, no inline content except styles, which Swagger
/// UI writes, and no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SCRIPT: &str = "text/javascript";
/// Caches revalidate every use, so an update takes effect at once.
const CACHE_CONTROL: &str = "public, no-cache";

impl Pages {
    pub fn new(public_url: &str) -> Self {
        Self {
            public_url: public_url.to_owned(),
            openapi: OnceLock::new(),
            docs: Document::of_bytes(include_bytes!("docs.html").to_vec()),
            start: Document::of_bytes(include_bytes!("docs.js").to_vec()),
            swagger_ui: [
                ("swagger-ui-bundle.js", SCRIPT, OnceLock::new()),
                ("swagger-ui.css", "text/css", OnceLock::new()),
                ("favicon-32x32.png", "image/png", OnceLock::new()),
            ],
        }
    }

    /// The file that the page loads under this name, with its media type.
    fn asset(&self, name: &str) -> Result<Option<(&Document, &'static str)>, Error> {
        if name == "start.js" {
            return Ok(Some((&self.start, SCRIPT)));
        }
        let Some((name, content_type, kept)) = self.swagger_ui.iter().find(|(known, ..)| *known == name) else {
            return Ok(None);
        };
        let document = once(kept, || {
            let file = utoipa_swagger_ui::serve(name, Arc::default()).ok().flatten();
            let file = file.ok_or_else(|| Error::Internal(format!("Swagger UI has no {name}")))?;
            // The `gzip` feature of the crate embeds the file at a quarter of its size.
            Document::of_gzip(&file.bytes)
        })?;
        Ok(Some((document, content_type)))
    }
}

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "", responses(Cached<OpenApi>))]
pub async fn openapi(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> Result<HttpResponse, Problem> {
    let openapi = once(&pages.openapi, || document(&pages.public_url))?;
    Ok(well_known::kept(&request, openapi, "application/json", CACHE_CONTROL))
}

/// Returns this document as a web page.
///
/// The page loads nothing from other hosts.
#[utoipa::path(get, path = "", responses(Page))]
pub async fn docs(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> HttpResponse {
    guarded(well_known::kept(&request, &pages.docs, "text/html; charset=utf-8", CACHE_CONTROL))
}

/// Returns a file of the documentation page.
#[utoipa::path(get, path = "", params(File), responses(Asset))]
pub async fn asset(_: Anyone, request: HttpRequest, pages: Data<Pages>) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let (file, content_type) = pages.asset(name)?.ok_or_else(Problem::not_found)?;
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

impl Part for Data<Pages> {}
