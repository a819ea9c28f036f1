//! Static assets: the widget, which products embed in their pages, and the files of the hosted
//! pages and the console.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AcceptEncoding, CONTENT_ENCODING, Encoding, Header, HeaderValue, VARY},
    web::Data,
};

use crate::{
    http::{
        extract::access::Anyone,
        openapi::{answers::Asset, params::AssetFile, signature::Part},
        problem::Problem,
        signing::well_known::kept,
    },
    service::common::document::{Document, Packed},
    ui,
};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// Cache policy of URLs whose content can change: caches revalidate every use, and an unchanged
/// file is answered with 304.
pub const ASKED_AGAIN: &str = "public, no-cache";
/// Cache policy of URLs that contain the hash of the assets.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The assets. The gzip form of a file is produced for the first request that accepts it.
#[derive(Debug)]
pub struct Assets {
    hash: String,
    files: Vec<(&'static str, Packed)>,
    widget: Document,
    pub portal: Document,
    pub console: Document,
}

impl Assets {
    pub fn new() -> Self {
        let all: Vec<u8> = ui::ASSETS.iter().flat_map(|file| file.text.bytes()).collect();
        let hash = Document::of_bytes(all).etag.trim_matches('"')[..16].to_owned();
        let files = ui::ASSETS.iter().map(|file| (file.path, Packed::new(file.text.as_bytes())));
        Self {
            files: files.collect(),
            widget: Document::of_bytes(ui::widget(&hash).into_bytes()),
            portal: Document::of_bytes(ui::portal(&hash).into_bytes()),
            console: Document::of_bytes(ui::console(&hash).into_bytes()),
            hash,
        }
    }
}

/// Returns the widget script.
///
/// A page that loads it as a module can use the `<keyswap-api-keys>` element.
#[utoipa::path(get, path = "", responses(Asset))]
pub async fn widget(_: Anyone, request: HttpRequest, assets: Data<Assets>) -> HttpResponse {
    kept(&request, &assets.widget, SCRIPT, ASKED_AGAIN)
}

/// Returns a file of the widget, the hosted pages or the console.
#[utoipa::path(get, path = "", params(AssetFile), responses(Asset))]
pub async fn asset(_: Anyone, request: HttpRequest, assets: Data<Assets>) -> Result<HttpResponse, Problem> {
    let part = |name| request.match_info().get(name).unwrap_or_default();
    let path = format!("{}/{}", part("folder"), part("file"));
    let known = assets.files.iter().find(|(known, _)| part("hash") == assets.hash && *known == path);
    let (path, packed) = known.ok_or_else(Problem::not_found)?;
    let content_type = if path.ends_with(".css") { STYLE } else { SCRIPT };
    let takes_gzip = takes_gzip(&request);
    let mut response = kept(&request, packed.as_taken(takes_gzip)?, content_type, FOR_EVER);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if takes_gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Returns whether the client accepts gzip (RFC 9110 §12.5.3).
fn takes_gzip(request: &HttpRequest) -> bool {
    let offered = [Encoding::identity(), Encoding::gzip()];
    AcceptEncoding::parse(request).is_ok_and(|taken| taken.negotiate(offered.iter()) == Some(Encoding::gzip()))
}

impl Part for Data<Assets> {}
