//! `/widget/…`: the widget, for the pages of products.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AcceptEncoding, CONTENT_ENCODING, Encoding, Header, HeaderValue, VARY},
    web::Data,
};

use crate::{
    http::{
        access::Anyone,
        openapi::{answers::Asset, params::WidgetFile},
        problem::Problem,
        well_known::kept,
    },
    service::{
        Error,
        publish::{Document, Packed},
    },
    ui,
};

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The entry has one name: it is asked for again each time, and answered 304 where it is the same.
const ASKED_AGAIN: &str = "public, no-cache";
/// Its modules have what is in them in their names.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The files, packed once.
#[derive(Debug)]
pub struct Widget {
    entry: Document,
    hash: String,
    modules: Vec<(&'static str, Packed)>,
}

impl Widget {
    /// # Errors
    /// They cannot be packed.
    pub fn new() -> Result<Self, Error> {
        let all: Vec<u8> = ui::WIDGET.iter().flat_map(|script| script.text.bytes()).collect();
        let hash = Document::of_bytes(all).etag.trim_matches('"')[..16].to_owned();
        let modules = ui::WIDGET.iter().map(|script| Ok((script.name, Packed::new(script.text.as_bytes())?)));
        Ok(Self {
            entry: Document::of_bytes(ui::entry(&hash).into_bytes()),
            modules: modules.collect::<Result<_, Error>>()?,
            hash,
        })
    }
}

/// The widget: a page that loads it as a module can use `<keyswap-api-keys>`.
#[utoipa::path(get, path = "", responses(Asset))]
pub async fn entry(_: Anyone, request: HttpRequest, widget: Data<Widget>) -> HttpResponse {
    kept(&request, &widget.entry, SCRIPT, ASKED_AGAIN)
}

/// A module of the widget.
#[utoipa::path(get, path = "", params(WidgetFile), responses(Asset))]
pub async fn module(_: Anyone, request: HttpRequest, widget: Data<Widget>) -> Result<HttpResponse, Problem> {
    let part = |name| request.match_info().get(name).unwrap_or_default();
    let (hash, file) = (part("hash"), part("file"));
    let known = widget.modules.iter().find(|(name, _)| hash == widget.hash && *name == file);
    let (_, packed) = known.ok_or_else(Problem::not_found)?;
    let takes_gzip = takes_gzip(&request);
    let mut response = kept(&request, packed.as_taken(takes_gzip), SCRIPT, FOR_EVER);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if takes_gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether the client takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(request: &HttpRequest) -> bool {
    let offered = [Encoding::identity(), Encoding::gzip()];
    AcceptEncoding::parse(request).is_ok_and(|taken| taken.negotiate(offered.iter()) == Some(Encoding::gzip()))
}
