//! Success responses for the OpenAPI document. Error responses are derived from the handler
//! signatures.

use std::{collections::BTreeMap, marker::PhantomData};

use serde_json::{Map, Value, json};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Ref, RefOr, Response},
};

use crate::http::openapi::{schemas::collect_schemas, signature::Responses};

/// Extension in which a response carries its schemas to `document`, which removes it. utoipa does
/// not collect the schemas of such responses.
pub const SCHEMAS_EXTENSION: &str = "x-schemas";

/// A JSON response.
pub fn json_response<T: ToSchema>(status: &str, description: &str, headers: &[&str]) -> (String, RefOr<Response>) {
    build_response::<T>(status, description, headers, |schema| json!({ "application/json": { "schema": schema } }))
}

/// A page of a list.
pub fn list_response<T: ToSchema>() -> (String, RefOr<Response>) {
    let description = "A page of the list. `next` is the cursor of the next page.";
    build_response::<T>("200", description, &[], |item| {
        let page = json!({
            "type": "object",
            "required": ["data", "next"],
            "properties": {
                "data": { "type": "array", "items": item, "maxItems": 100 },
                "next": { "type": ["string", "null"], "description": "The cursor of the next page, for `after`. Null on the last page." },
            },
        });
        json!({ "application/json": { "schema": page } })
    })
}

/// Builds a response whose content contains a reference to the schema of `T`.
fn build_response<T: ToSchema>(
    status: &str,
    description: &str,
    headers: &[&str],
    content: impl FnOnce(Value) -> Value,
) -> (String, RefOr<Response>) {
    let (name, schemas) = collect_schemas::<T>();
    let headers: BTreeMap<_, _> = headers.iter().map(|name| (*name, header(name))).collect();
    let schemas: Vec<_> = schemas.into_iter().map(|(name, schema)| json!([name, schema])).collect();
    let response = json!({
        "description": description,
        "headers": headers,
        "content": content(json!({ "$ref": format!("#/components/schemas/{name}") })),
        SCHEMAS_EXTENSION: schemas,
    });
    (status.to_owned(), parse(response))
}

/// Converts JSON to a response. A test checks all of them.
fn parse(response: Value) -> RefOr<Response> {
    if let Some(reference) = response["$ref"].as_str() {
        return RefOr::Ref(Ref::new(reference));
    }
    serde_json::from_value(response).map_or_else(|_| RefOr::T(Response::new("")), RefOr::T)
}

/// The schema of `If-Match` and `If-None-Match`: `*`, or a list whose elements may be empty
/// (RFC 9110 §5.6.1.2).
pub fn tag_list_schema() -> Value {
    let tag = "(W/)?\"[!#-~]*\"";
    json!({ "type": "string", "pattern": format!("^(\\*|[ ,]*({tag}( *,[ ,]*{tag})*[ ,]*)?)$"), "examples": ["\"3\""] })
}

/// Adds what every operation that reads has in common: the tag of its response, and 304 if the
/// client knows this tag. A public document ignores a list that it cannot understand.
pub fn describe_conditional_read(
    operation: &mut Map<String, Value>,
    responses: &mut Map<String, Value>,
    is_public: bool,
) {
    let tags = if is_public { json!({ "type": "string", "examples": ["\"3\""] }) } else { tag_list_schema() };
    let parameter = json!({
        "name": "If-None-Match",
        "in": "header",
        "required": false,
        "description": "Tags of the representations that the client has, or `*`. If one of them is current, the response is 304.",
        "schema": tags,
    });
    if let Some(parameters) = operation.entry("parameters").or_insert(json!([])).as_array_mut() {
        parameters.push(parameter);
    }
    let unchanged = json!({ "description": UNCHANGED, "headers": { "ETag": header("ETag") } });
    responses.entry("304").or_insert(unchanged);
    if let Some(success) = responses.get_mut("200") {
        success["headers"]["ETag"] = header("ETag");
    }
}

/// The description of a response header.
pub fn header(name: &str) -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let pattern = |description: &str, pattern: &str| json!({ "description": description, "schema": { "type": "string", "pattern": pattern } });
    match name {
        "ETag" => pattern(
            "The tag of the representation, for If-None-Match, and for If-Match if it begins with a version.",
            "^\"[0-9A-Za-z-]+\"$",
        ),
        "Location" => {
            json!({ "description": "The URL of the object.", "schema": { "type": "string", "format": "uri" } })
        }
        "Idempotency-Replayed" => json!({
            "description": "Present if an earlier request with the same Idempotency-Key was performed. The secret is then omitted.",
            "schema": { "type": "string", "enum": ["true"] },
        }),
        "Cache-Control" => text("How long the response may be cached."),
        "Retry-After" => {
            json!({ "description": "Seconds to wait before a retry.", "schema": { "type": "integer", "minimum": 1 } })
        }
        "Keyswap-Credential-End" => pattern(
            "When the presented key value stops working, and when a rotation replaced it, in seconds since 1970-01-01 UTC (RFC 9651).",
            "^@[0-9]+(;replaced=@[0-9]+)?$",
        ),
        "RateLimit" => pattern(
            "Exchanges left in the current minute of the key (draft-ietf-httpapi-ratelimit-headers-10).",
            "^\"exchanges\";r=[0-9]+;t=[0-9]+$",
        ),
        "RateLimit-Policy" => pattern("Exchanges per minute of the key.", "^\"exchanges\";q=[0-9]+;w=60$"),
        "Set-Cookie" => text("The session of the page, restricted to its host."),
        _ => text("The authentication schemes that the server accepts."),
    }
}

/// 201 with a value that cannot be retrieved again.
pub struct OneTimeValueResponse<T>(PhantomData<T>);

impl<T: ToSchema> IntoResponses for OneTimeValueResponse<T> {
    fn responses() -> Responses {
        let text = "The session, with its token and URL. They cannot be retrieved again, and a replay omits them.";
        [json_response::<T>("201", text, &["Idempotency-Replayed"])].into()
    }
}

/// 200 for a request that presents an API key for exchange.
pub struct ExchangeResponse<T>(PhantomData<T>);

impl<T: ToSchema> IntoResponses for ExchangeResponse<T> {
    fn responses() -> Responses {
        let text = "The result. Keyswap-Credential-End is present if the presented key value has an end, RateLimit if the \
            key has a limit.";
        [json_response::<T>("200", text, &["Keyswap-Credential-End", "RateLimit", "RateLimit-Policy"])].into()
    }
}

/// 200 or 503 for a readiness probe.
pub struct ProbeResponse<T>(PhantomData<T>);

impl<T: ToSchema> IntoResponses for ProbeResponse<T> {
    fn responses() -> Responses {
        [
            json_response::<T>("200", "The instance is ready.", &[]),
            json_response::<T>("503", "The instance is not ready.", &["Retry-After"]),
        ]
        .into()
    }
}

/// A cacheable document with its media type.
pub trait CacheableDocument: ToSchema {
    const CONTENT_TYPE: &'static str;
}

/// 200 with a document, or 304 if the client already has it.
pub struct CacheableResponse<T>(PhantomData<T>);

impl<T: CacheableDocument> IntoResponses for CacheableResponse<T> {
    fn responses() -> Responses {
        let headers = ["ETag", "Cache-Control"];
        let document = build_response::<T>(
            "200",
            "The document.",
            &headers,
            |schema| json!({ T::CONTENT_TYPE: { "schema": schema } }),
        );
        let headers: BTreeMap<_, _> = headers.map(|name| (name, header(name))).into();
        let unchanged = json!({ "description": UNCHANGED, "headers": headers });
        [document, ("304".to_owned(), parse(unchanged))].into()
    }
}

/// An introspection response: JSON, or a JWT if the client requests one (RFC 9701).
pub struct IntrospectionResponses<T>(PhantomData<T>);

impl<T: ToSchema> IntoResponses for IntrospectionResponses<T> {
    fn responses() -> Responses {
        let text =
            "The result. If Accept asks for a JWT, it is signed and contains the result in `token_introspection`.";
        let jwt = json!({ "type": "string", "pattern": "^[0-9A-Za-z_-]+(\\.[0-9A-Za-z_-]+){2}$" });
        let response = build_response::<T>(
            "200",
            text,
            &[],
            |schema| json!({ "application/json": { "schema": schema }, INTROSPECTION_JWT_TYPE: { "schema": jwt } }),
        );
        [response].into()
    }
}

/// Media type of an introspection response as a JWT (RFC 9701).
pub const INTROSPECTION_JWT_TYPE: &str = "application/token-introspection+jwt";

const UNCHANGED: &str = "The client already has the version that If-None-Match names.";

/// Declares responses without a schema of their own, each with its JSON.
macro_rules! fixed_responses {
    ($($(#[$doc:meta])* $name:ident => [$($status:literal $response:tt),*];)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> Responses {
                [$(($status.to_owned(), parse(json!($response)))),*].into()
            }
        }
    )*};
}

fixed_responses! {
    /// Response of `/metrics`.
    Metrics => ["200" { "description": "The metrics.", "content": { "text/plain": { "schema": { "type": "string" } }, "application/openmetrics-text": { "schema": { "type": "string" } } } }];
    /// Response of liveness.
    Liveness => [
        "200" { "description": "The process and its background jobs run.", "content": { "text/plain": { "schema": { "type": "string" } } } },
        "503" { "description": "A background job has ended or does not complete its run. The process must be restarted.", "content": { "text/plain": { "schema": { "type": "string" } } } }
    ];
    /// Response of a directory import.
    ReportLines => ["200" { "description": REPORT_LINES, "content": { "application/x-ndjson": { "schema": { "type": "string" } } } }];
    /// A script, stylesheet or image.
    Asset => [
        "200" { "description": "The file.", "content": { "*/*": { "schema": { "type": "string" } } } },
        "304" { "description": UNCHANGED }
    ];
    /// An HTML page.
    HtmlPage => [
        "200" { "description": "The page.", "content": { "text/html": { "schema": { "type": "string" } } } },
        "304" { "description": UNCHANGED }
    ];
    /// 501 for a request for a past state.
    PastStateUnavailable => ["501" { "$ref": "#/components/responses/Problem501" }];
    /// 403 for an API key in the body that lacks the required permissions.
    PermissionMissing => ["403" { "$ref": "#/components/responses/Problem403" }];
    /// 409 for a sign-in that would replace the session of another user.
    AnotherUserSignedIn => ["409" { "$ref": "#/components/responses/Problem409" }];
    /// 204 that sets or clears the session cookie of a page.
    SessionCookieResponse => ["204" { "description": "The cookie is set.", "headers": { "Set-Cookie": (header("Set-Cookie")) } }];
    /// 200 with an empty body.
    Revoked => ["200" { "description": "The key or token is revoked, or the caller may not revoke it." }];
}

const REPORT_LINES: &str = "JSON lines. About once a second, `{\"progress\":{…}}` contains the counts so far: `rows`, `created`, \
    `updated`, `unchanged`, `refused`. The last line is `{\"report\":{…}}` with the same counts, `refused_rows` (at most 1000, each with \
    `line` and `errors`) and the number of further refused rows in `more`. If the import fails, the last line is \
    `{\"error\":…,\"progress\":{…}}`, with a problem and the counts of committed rows.";
