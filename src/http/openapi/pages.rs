//! `/openapi.json` and `/docs`: the OpenAPI document and Swagger UI. The page loads nothing from
//! other hosts.

use std::sync::{Arc, OnceLock};

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS},
    web::{Data, Path},
};
use serde::Deserialize;
use serde_json::json;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    http::{
        extract::Unauthenticated,
        openapi::{
            document,
            responses::{Asset, CacheableDocument, CacheableResponse, HtmlPage},
            value_schemas,
        },
        problem::Problem,
        signing::well_known,
    },
    service::{
        Error,
        common::document::{CachedDocument, get_or_create},
    },
};

/// The OpenAPI document, the documentation page and the files that it loads. The documents that are
/// expensive to build are built on first use.
#[derive(Debug)]
pub struct DocsPages {
    public_url: String,
    document: OnceLock<CachedDocument>,
    page: CachedDocument,
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
            document: OnceLock::new(),
            page: CachedDocument::from_bytes(include_bytes!("docs.html").to_vec()),
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
        let Some((name, content_type, cached)) = self.swagger_ui.iter().find(|(known, ..)| *known == name) else {
            return Ok(None);
        };
        let document = get_or_create(cached, || {
            let file = utoipa_swagger_ui::serve(name, Arc::default()).ok().flatten();
            let file = file.ok_or_else(|| Error::internal(format!("Swagger UI has no {name}")))?;
            // The `gzip` feature of the crate embeds the file at a quarter of its size.
            CachedDocument::from_gzip(&file.bytes)
        })?;
        Ok(Some((document, content_type)))
    }
}

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "", responses(CacheableResponse<OpenApi>))]
pub async fn get_document(_: Unauthenticated, pages: Data<DocsPages>) -> Result<HttpResponse, Problem> {
    let document = get_or_create(&pages.document, || document(&pages.public_url))?;
    Ok(well_known::respond_cacheable(document, "application/json", CACHE_CONTROL))
}

/// Returns this document as a web page.
///
/// The page loads nothing from other hosts.
#[utoipa::path(get, path = "", responses(HtmlPage))]
pub async fn get_docs(_: Unauthenticated, pages: Data<DocsPages>) -> HttpResponse {
    with_security_headers(well_known::respond_cacheable(&pages.page, "text/html; charset=utf-8", CACHE_CONTROL))
}

/// A file of the documentation page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DocsPath {
    #[param(example = "swagger-ui.css")]
    file: String,
}

/// Returns a file of the documentation page.
#[utoipa::path(get, path = "", responses(Asset))]
pub async fn asset(_: Unauthenticated, path: Path<DocsPath>, pages: Data<DocsPages>) -> Result<HttpResponse, Problem> {
    let (file, content_type) = pages.asset(&path.file)?.ok_or_else(Problem::not_found)?;
    Ok(with_security_headers(well_known::respond_cacheable(file, content_type, CACHE_CONTROL)))
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
        value_schemas::from_json(
            json!({ "type": "object", "additionalProperties": true, "description": "An OpenAPI 3.1 document." }),
        )
    }
}

impl ToSchema for OpenApi {}

impl CacheableDocument for OpenApi {
    const CONTENT_TYPE: &'static str = "application/json";
}
