//! `/get_document.json` and `/get_docs`: the OpenAPI document and Swagger UI. The page loads nothing from
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
        extract::access::Unauthenticated,
        openapi::{
            answers::{Asset, CacheableDocument, Cached, Page},
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
        common::document::{CachedDocument, once},
    },
};

/// The OpenAPI document, the documentation page and the files that it loads. The documents that are
/// expensive to build are built on first use.
#[derive(Debug)]
pub struct DocsPages {
    public_url: String,
    get_document: OnceLock<CachedDocument>,
    get_docs: CachedDocument,
    start: CachedDocument,
    swagger_ui: [(&'static str, &'static str, OnceLock<CachedDocument>); 3],
}

/// Content Security Policy: no external resources, no inline content except styles, which Swagger
/// UI writes, and no framing.
const DOCS_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const JAVASCRIPT_TYPE: &str = "text/javascript";
/// Caches revalidate every use, so an update takes effect at once.
const CACHE_CONTROL: &str = "public, no-cache";

impl DocsPages {
    pub fn new(public_url: &str) -> Self {
        Self {
            public_url: public_url.to_owned(),
            get_document: OnceLock::new(),
            get_docs: CachedDocument::from_bytes(include_bytes!("docs.html").to_vec()),
            start: CachedDocument::from_bytes(include_bytes!("docs.js").to_vec()),
            swagger_ui: [
                ("swagger-ui-bundle.js", JAVASCRIPT_TYPE, OnceLock::new()),
                ("swagger-ui.css", "text/css", OnceLock::new()),
                ("favicon-32x32.png", "image/png", OnceLock::new()),
            ],
        }
    }

    /// The file that the page loads under this name, with its media type.
    fn asset(&self, name: &str) -> Result<Option<(&CachedDocument, &'static str)>, Error> {
        if name == "start.js" {
            return Ok(Some((&self.start, JAVASCRIPT_TYPE)));
        }
        let Some((name, content_type, kept)) = self.swagger_ui.iter().find(|(known, ..)| *known == name) else {
            return Ok(None);
        };
        let document = once(kept, || {
            let file = utoipa_swagger_ui::serve(name, Arc::default()).ok().flatten();
            let file = file.ok_or_else(|| Error::Internal(format!("Swagger UI has no {name}")))?;
            // The `gzip` feature of the crate embeds the file at a quarter of its size.
            CachedDocument::from_gzip(&file.bytes)
        })?;
        Ok(Some((document, content_type)))
    }
}

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "", responses(Cached<OpenApi>))]
pub async fn get_document(
    _: Unauthenticated,
    request: HttpRequest,
    pages: Data<DocsPages>,
) -> Result<HttpResponse, Problem> {
    let get_document = once(&pages.get_document, || document(&pages.public_url))?;
    Ok(well_known::kept(&request, get_document, "application/json", CACHE_CONTROL))
}

/// Returns this document as a web page.
///
/// The page loads nothing from other hosts.
#[utoipa::path(get, path = "", responses(Page))]
pub async fn get_docs(_: Unauthenticated, request: HttpRequest, pages: Data<DocsPages>) -> HttpResponse {
    with_security_headers(well_known::kept(&request, &pages.get_docs, "text/html; charset=utf-8", CACHE_CONTROL))
}

/// Returns a file of the documentation page.
#[utoipa::path(get, path = "", params(File), responses(Asset))]
pub async fn asset(_: Unauthenticated, request: HttpRequest, pages: Data<DocsPages>) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let (file, content_type) = pages.asset(name)?.ok_or_else(Problem::not_found)?;
    Ok(with_security_headers(well_known::kept(&request, file, content_type, CACHE_CONTROL)))
}

fn with_security_headers(mut response: HttpResponse) -> HttpResponse {
    for (name, value) in
        [(CONTENT_SECURITY_POLICY, DOCS_CSP), (REFERRER_POLICY, "no-referrer"), (X_FRAME_OPTIONS, "DENY")]
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

impl CacheableDocument for OpenApi {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl Part for Data<DocsPages> {}
