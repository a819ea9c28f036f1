//! Parameters, for `params(…)` in the attributes of handlers.

use std::marker::PhantomData;

use serde_json::{Value, json};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

/// An identifier in the path, such as `{id}` or `{name}`. Its name comes from the route.
#[derive(Debug)]
pub struct InPath<T>(PhantomData<T>);

impl<T: ToSchema> IntoParams for InPath<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // `document` sets the name from the route. Path parameters are in path order.
        let schema = serde_json::to_value(T::schema()).unwrap_or_default();
        made(vec![json!({ "name": "", "in": "path", "required": true, "schema": schema })])
    }
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $type:ident => [$($where:literal $name:literal $text:literal $schema:tt)*];)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $type;

        impl IntoParams for $type {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                made(vec![$(
                    json!({ "name": $name, "in": $where, "required": false, "description": $text, "schema": json!($schema) })
                ),*])
            }
        }
    )*};
}

parameters! {
    /// Pagination of a list.
    Paging => [
        "query" "limit" "How many, at most." { "type": "integer", "minimum": 1, "maximum": 100, "default": 20 }
        "query" "after" "The `next` of the page before." { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" }
    ];
    /// The expected version of the object to change.
    IfMatch => [
        "header" "If-Match" "The ETag of the object as it was read, or `*`: another version of it is 412."
            { "type": "string", "pattern": "^(\\*|\"[0-9]{1,18}\")$", "examples": ["\"3\""] }
    ];
    /// Makes a request that creates an object idempotent.
    Once => [
        "header" "Idempotency-Key" "For 24 hours the same request with the same key makes nothing twice, and is answered without the secret."
            { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" }
    ];
    /// Filters for the list of API keys.
    KeyQuery => [
        "query" "owner_type" "Those of such owners." { "type": "string", "enum": ["user", "organization", "service_client", "none"] }
        "query" "service_client" "Those of this service client." { "type": "string" }
        "query" "organization" "Those within this organization, its members' own included." { "type": "string" }
        "query" "user" "Those of this user." { "type": "string" }
        "query" "state" "Those that are in this state now." { "type": "string", "enum": ["active", "suspended", "revoked", "expired"] }
        "query" "unused_since" "Those neither made nor used since then." { "type": "string", "format": "date-time" }
        "query" "archived" "Those that were deleted, and no other." { "type": "boolean", "default": false }
    ];
    /// Filters and order for the audit log.
    EventQuery => [
        "query" "limit" "How many, at most." { "type": "integer", "minimum": 1, "maximum": 100, "default": 20 }
        "query" "after" "The `seq` of the last event that is known, as `next` gives it." { "type": "integer", "format": "int64" }
        "query" "order" "From the beginning of the trail, or back from its end." { "type": "string", "enum": ["oldest", "newest"], "default": "oldest" }
        "query" "wait" "Where there is nothing yet: how long to wait for something, at most 30s."
            { "type": "string", "pattern": "^([0-9]|[12][0-9]|30)s$", "default": "0s", "examples": ["10s"] }
        "query" "type" "Types of events, with commas between them."
            { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", "examples": ["api_key.created,api_key.revoked"] }
        "query" "actor" "Who did it: an id, `type:id`, `cli` or `system`." { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" }
        "query" "subject" "What it happened to: an id or `type:id`." { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" }
        "query" "organization" "The id of an organization." { "type": "string", "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" }
    ];
}

/// A file that `/docs` loads.
#[derive(Debug)]
pub struct File;

impl IntoParams for File {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = json!({ "type": "string", "examples": ["swagger-ui.css"] });
        made(vec![json!({ "name": "file", "in": "path", "required": true, "schema": schema })])
    }
}

/// A file of the widget, the hosted pages or the console.
#[derive(Debug)]
pub struct AssetPathParameters;

impl IntoParams for AssetPathParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = |example: &str| json!({ "type": "string", "examples": [example] });
        made(vec![
            json!({ "name": "hash", "in": "path", "required": true, "schema": text("0123456789abcdef") }),
            json!({ "name": "folder", "in": "path", "required": true, "schema": text("widget") }),
            json!({ "name": "file", "in": "path", "required": true, "schema": text("element.js") }),
        ])
    }
}

/// The `Keyswap-Page` header of a hosted page. `ConsolePageHeader` is that of the console. HTML forms
/// cannot send the header.
#[derive(Debug)]
pub struct PortalPageHeader;

#[derive(Debug)]
pub struct ConsolePageHeader;

impl IntoParams for PortalPageHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        describe_page_header("1")
    }
}

impl IntoParams for ConsolePageHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        describe_page_header("console")
    }
}

fn describe_page_header(page: &str) -> Vec<Parameter> {
    let schema = json!({ "type": "string", "enum": [page] });
    let text = "Says which page of Keyswap's asks.";
    made(vec![
        json!({ "name": "Keyswap-Page", "in": "header", "required": true, "description": text, "schema": schema }),
    ])
}

/// Converts JSON to parameters. A test checks all of them.
fn made(parameters: Vec<Value>) -> Vec<Parameter> {
    serde_json::from_value(Value::Array(parameters)).unwrap_or_default()
}
