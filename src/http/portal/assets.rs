//! Static assets: the widget, which products embed in their pages, and the files of the hosted
//! pages and the console.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    http::{
        extract::Unauthenticated,
        openapi::responses::Asset,
        problem::Problem,
        signing::well_known::{respond_cacheable, respond_encoded},
    },
    service::common::document::{CachedDocument, EncodedDocument},
    ui,
};

const JAVASCRIPT_TYPE: &str = "text/javascript; charset=utf-8";
const CSS_TYPE: &str = "text/css; charset=utf-8";
/// Cache policy of URLs whose content can change: caches revalidate every use, and an unchanged
/// file is answered with 304.
pub const CACHE_REVALIDATE: &str = "public, no-cache";
/// Cache policy of URLs that contain the hash of the assets.
const CACHE_IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The assets. The gzip form of a file is produced for the first request that accepts it.
#[derive(Debug)]
pub struct Assets {
    hash: String,
    files: Vec<(&'static str, EncodedDocument)>,
    widget: CachedDocument,
    pub portal: CachedDocument,
    pub console: CachedDocument,
}

impl Assets {
    pub fn new() -> Self {
        let all: Vec<u8> = ui::ASSETS.iter().flat_map(|file| file.text.bytes()).collect();
        let hash = CachedDocument::from_bytes(all).etag.trim_matches('"')[..16].to_owned();
        let files = ui::ASSETS.iter().map(|file| (file.path, EncodedDocument::new(file.text.as_bytes())));
        Self {
            files: files.collect(),
            widget: CachedDocument::from_bytes(ui::widget(&hash).into_bytes()),
            portal: CachedDocument::from_bytes(ui::portal(&hash).into_bytes()),
            console: CachedDocument::from_bytes(ui::console(&hash).into_bytes()),
            hash,
        }
    }
}

/// Returns the widget script.
///
/// A page that loads it as a module can use the `<keyswap-api-keys>` element.
#[utoipa::path(get, path = "", responses(Asset))]
pub async fn widget(_: Unauthenticated, assets: Data<Assets>) -> HttpResponse {
    respond_cacheable(&assets.widget, JAVASCRIPT_TYPE, CACHE_REVALIDATE)
}

/// A file of the widget, the hosted pages or the console.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AssetPath {
    #[param(example = "0123456789abcdef")]
    hash: String,
    #[param(example = "widget")]
    folder: String,
    #[param(example = "element.js")]
    file: String,
}

/// Returns a file of the widget, the hosted pages or the console.
#[utoipa::path(get, path = "", responses(Asset))]
pub async fn asset(
    _: Unauthenticated,
    request: HttpRequest,
    path: Path<AssetPath>,
    assets: Data<Assets>,
) -> Result<HttpResponse, Problem> {
    let AssetPath { hash, folder, file } = path.into_inner();
    let path = format!("{folder}/{file}");
    let known = assets.files.iter().find(|(known, _)| hash == assets.hash && *known == path);
    let (path, packed) = known.ok_or_else(Problem::not_found)?;
    let content_type = if path.ends_with(".css") { CSS_TYPE } else { JAVASCRIPT_TYPE };
    respond_encoded(&request, |takes_gzip| Ok(packed.encoded_for(takes_gzip)?), content_type, CACHE_IMMUTABLE)
}
