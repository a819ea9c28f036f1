//! Success responses, for `responses(…)` in the attributes of handlers. Error responses are derived
//! from the handler signatures.

use std::{collections::BTreeMap, marker::PhantomData};

use serde_json::{Value, json};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Ref, RefOr, Response},
};

use crate::http::openapi::schemas::collect_schemas;

/// Extension in which a response carries its schemas to `document`, which removes it. utoipa does
/// not collect the schemas of such responses.
pub const SCHEMAS_EXTENSION: &str = "x-schemas";

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident => [$($status:literal $text:literal [$($header:literal),*]),*];)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T>(PhantomData<T>);

        impl<T: ToSchema> IntoResponses for $name<T> {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(json_response::<T>($status, $text, &[$($header),*], stringify!($name) == "Listing")),*].into()
            }
        }
    )*};
}

answers! {
    /// 200 with a versioned object.
    Object => ["200" "The object, as it is now." ["ETag"]];
    /// 200 with an object and its new secret, which no other response contains.
    Rekeyed => ["200" "The object, with its new secret: no other answer has it." ["ETag"]];
    /// 201 with an object created by this request, or by an earlier one with the same
    /// `Idempotency-Key`.
    Made => ["201" "Made; by an earlier request with the same Idempotency-Key where Idempotency-Replayed says so." ["ETag", "Location", "Idempotency-Replayed"]];
    /// 201 with a value that cannot be retrieved again.
    Opened => ["201" "Made: no other answer has it." []];
    /// 200 or 201 with an object written by PUT.
    Stored => [
        "200" "It was there already, and is as it was put." ["ETag"],
        "201" "It is new." ["ETag", "Location"]
    ];
    /// 200 with a page of a list.
    Listing => ["200" "A page of the list, newest first; `next` is where the next one begins." []];
    /// 200 with a body that has no version.
    Plain => ["200" "The answer." []];
    /// 200 for a request that presents an API key for exchange.
    Swapped => [
        "200" "The answer; with Deprecation and Sunset, where another value has taken the place of the one presented; with RateLimit, where the key has a limit."
        ["Deprecation", "Sunset", "RateLimit", "RateLimit-Policy"]
    ];
    /// 200 or 503 for a readiness probe.
    Probe => ["200" "Yes." [], "503" "No." ["Retry-After"]];
}

fn json_response<T: ToSchema>(status: &str, text: &str, headers: &[&str], is_page: bool) -> (String, RefOr<Response>) {
    let (name, schemas) = collect_schemas::<T>();
    let item = json!({ "$ref": format!("#/components/schemas/{name}") });
    let schema = if is_page { list_page_schema(&item) } else { item };
    let headers: BTreeMap<_, _> = headers.iter().map(|name| (*name, header(name))).collect();
    let schemas: Vec<_> = schemas.into_iter().map(|(name, schema)| json!([name, schema])).collect();
    let response = json!({
        "description": text,
        "headers": headers,
        "content": { "application/json": { "schema": schema } },
        SCHEMAS_EXTENSION: schemas,
    });
    (status.to_owned(), made(response))
}

fn list_page_schema(item: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": { "type": "array", "items": item, "maxItems": 100 },
            "next": { "type": ["string", "null"], "description": "Where the next page begins, for `after`; null on the last one." },
        },
    })
}

/// Converts JSON to a response. A test checks all of them.
fn made(response: Value) -> RefOr<Response> {
    serde_json::from_value(response).map_or_else(|_| RefOr::T(Response::new("")), RefOr::T)
}

/// The description of a response header.
pub fn header(name: &str) -> Value {
    let (text, schema) = match name {
        "ETag" => {
            ("The version, in quotes: for If-Match.", json!({ "type": "string", "pattern": "^\"[0-9A-Za-z]+\"$" }))
        }
        "Location" => ("Where the object is.", json!({ "type": "string", "format": "uri" })),
        "Idempotency-Replayed" => {
            ("An earlier request with the same Idempotency-Key made it.", json!({ "type": "string", "enum": ["true"] }))
        }
        "Cache-Control" => ("How long it may be kept.", json!({ "type": "string" })),
        "Retry-After" => ("Seconds to wait.", json!({ "type": "integer", "minimum": 1 })),
        "Deprecation" => (
            "Since when another value has taken the place of this one (RFC 9745).",
            json!({ "type": "string", "pattern": "^@[0-9]+$" }),
        ),
        "Sunset" => ("When this value ends (RFC 8594).", json!({ "type": "string" })),
        "RateLimit" => (
            "What is left of the key's minute (draft-ietf-httpapi-ratelimit-headers-10).",
            json!({ "type": "string", "pattern": "^\"exchanges\";r=[0-9]+;t=[0-9]+$" }),
        ),
        "RateLimit-Policy" => (
            "How many exchanges the key has in a minute.",
            json!({ "type": "string", "pattern": "^\"exchanges\";q=[0-9]+;w=60$" }),
        ),
        "Set-Cookie" => ("The session of the page, for its own host alone.", json!({ "type": "string" })),
        "WWW-Authenticate" => ("How to show credentials.", json!({ "type": "string" })),
        _ => ("", json!({ "type": "string" })),
    };
    json!({ "description": text, "schema": schema })
}

/// A cacheable document with its media type.
pub trait CacheableDocument: ToSchema {
    const CONTENT_TYPE: &'static str;
}

/// 200 with a document, or 304 if the client already has it.
#[derive(Debug)]
pub struct Cached<T>(PhantomData<T>);

impl<T: CacheableDocument> IntoResponses for Cached<T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let (name, schemas) = collect_schemas::<T>();
        let schemas: Vec<_> = schemas.into_iter().map(|(name, schema)| json!([name, schema])).collect();
        let headers = json!({ "ETag": header("ETag"), "Cache-Control": header("Cache-Control") });
        let whole = json!({
            "description": "The document.",
            "headers": headers,
            "content": { T::CONTENT_TYPE: { "schema": { "$ref": format!("#/components/schemas/{name}") } } },
            SCHEMAS_EXTENSION: schemas,
        });
        let known = json!({ "description": "The one that If-None-Match names.", "headers": headers });
        [("200".to_owned(), made(whole)), ("304".to_owned(), made(known))].into()
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident => $content_type:literal [$($status:literal $text:literal),*];)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status.to_owned(), made(text_response($status, $text, $content_type)))),*].into()
            }
        }
    )*};
}

texts! {
    /// Response of `/metrics`.
    Metrics => "application/openmetrics-text" ["200" "The metrics."];
    /// Response of a directory import.
    ReportLines => "application/x-ndjson" ["200" "Lines of JSON. About once a second `{\"progress\":{…}}` with the numbers so far: `rows`, `created`, `updated`, `unchanged`, `refused`. The last line is `{\"report\":{…}}` with the same numbers, `refused_rows` (at most 1000, each with its `line` and `errors`) and how many `more` there are; or `{\"error\":…,\"progress\":{…}}`, a problem and what is in for certain."];
    /// A script, stylesheet or image.
    Asset => "*/*" ["200" "The file.", "304" "The one that If-None-Match names."];
    /// An HTML page.
    Page => "text/html" ["200" "The page.", "304" "The one that If-None-Match names."];
}

fn text_response(status: &str, text: &str, content_type: &str) -> Value {
    match status {
        "304" => json!({ "description": text }),
        _ => json!({ "description": text, "content": { content_type: { "schema": { "type": "string" } } } }),
    }
}

/// 501 for a request for a past state.
#[derive(Debug)]
pub struct PastStateUnavailable;

impl IntoResponses for PastStateUnavailable {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [("501".to_owned(), RefOr::Ref(Ref::new("#/components/responses/Problem501")))].into()
    }
}

/// 403 for an API key in the body that lacks the required permissions.
#[derive(Debug)]
pub struct PermissionMissing;

impl IntoResponses for PermissionMissing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [("403".to_owned(), RefOr::Ref(Ref::new("#/components/responses/Problem403")))].into()
    }
}

/// 204 after a deletion.
#[derive(Debug)]
pub struct Deleted;

impl IntoResponses for Deleted {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [("204".to_owned(), RefOr::T(Response::new("It is gone.")))].into()
    }
}

/// 204 that sets or clears the session cookie of a page.
#[derive(Debug)]
pub struct SessionCookieResponse;

impl IntoResponses for SessionCookieResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let headers = json!({ "Set-Cookie": header("Set-Cookie") });
        [("204".to_owned(), made(json!({ "description": "The cookie is set.", "headers": headers })))].into()
    }
}

/// 200 with an empty body.
#[derive(Debug)]
pub struct Done;

impl IntoResponses for Done {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [("200".to_owned(), RefOr::T(Response::new("It is revoked, or there was nothing that the caller may end.")))]
            .into()
    }
}

/// An introspection response: JSON, or a JWT if the client requests one (RFC 9701).
#[derive(Debug)]
pub struct IntrospectionAnswer<T>(PhantomData<T>);

impl<T: ToSchema> IntoResponses for IntrospectionAnswer<T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let (name, schemas) = collect_schemas::<T>();
        let schemas: Vec<_> = schemas.into_iter().map(|(name, schema)| json!([name, schema])).collect();
        let answer = json!({
            "description": "The answer; signed, with the same in `token_introspection`, where Accept asks for a JWT.",
            "content": {
                "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } },
                INTROSPECTION_JWT_TYPE: { "schema": { "type": "string", "pattern": "^[0-9A-Za-z_-]+(\\.[0-9A-Za-z_-]+){2}$" } },
            },
            SCHEMAS_EXTENSION: schemas,
        });
        [("200".to_owned(), made(answer))].into()
    }
}

/// Media type of an introspection response as a JWT (RFC 9701).
pub const INTROSPECTION_JWT_TYPE: &str = "application/token-introspection+jwt";
