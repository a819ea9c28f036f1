//! Schemas of documents that other RFCs define.

use crate::{
    crypto::jwk::PublicJwk,
    domain::access::{audience::Identifier, resource::Resource},
    http::openapi::{responses::CacheableDocument, value_schemas::from_json},
    service::{
        signing::metadata::{ResourceMetadata, ServerMetadata},
        status_lists::StatusListAggregation,
    },
};
use serde_json::json;
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// Parameters of `POST /oauth/token`. Unknown parameters are ignored (RFC 6749 §3.2).
#[derive(Debug, ToSchema)]
#[schema(as = TokenRequest)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct TokenRequest {
    /// One of `client_credentials`, `urn:ietf:params:oauth:grant-type:token-exchange` and
    /// `urn:ibm:params:oauth:grant-type:apikey`.
    #[schema(example = "client_credentials", min_length = 1)]
    grant_type: String,
    /// For `client_credentials` without credentials in the `Authorization` header: the id of the
    /// API key or its service client, or `<prefix>_<id>`.
    client_id: Option<String>,
    /// The complete API key. Sent together with `client_id`.
    client_secret: Option<String>,
    /// For a token exchange: the complete API key.
    subject_token: Option<String>,
    /// For a token exchange: `urn:keyswap:params:oauth:token-type:api-key` or
    /// `urn:ietf:params:oauth:token-type:access_token`. Either way, the subject token is an API
    /// key.
    subject_token_type: Option<String>,
    /// Type of token to issue: `urn:ietf:params:oauth:token-type:access_token` (default) or
    /// `urn:ietf:params:oauth:token-type:jwt`.
    requested_token_type: Option<String>,
    /// For the IBM grant type: the complete API key.
    apikey: Option<String>,
    /// Requested permissions, separated by single spaces. Defaults to all permissions of the key.
    scope: Option<String>,
    /// Services for which the token is issued. Defaults to the default audience.
    audience: Option<Vec<Identifier>>,
    /// Services for which the token is issued, as absolute URIs.
    resource: Option<Vec<Identifier>>,
    /// Requested lifetime of the token in seconds. A lifetime that exceeds `tokens.max_ttl`, that
    /// of the audience or that of the key is refused.
    #[schema(minimum = 1, maximum = 4294967295_i64)]
    expires_in: Option<i64>,
}

/// Parameters of `POST /oauth/revoke`. Unknown parameters are ignored.
#[derive(Debug, ToSchema)]
#[schema(as = TokenParameters)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct TokenParameters {
    /// An API key or token. A text that cannot be one is an unknown token.
    #[schema(pattern = "[^\\t\\n\\f\\r ]")]
    token: String,
    /// Ignored. The type follows from the token itself.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// Without credentials in the `Authorization` header: the id of the API key or its service
    /// client, or `<prefix>_<id>`.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The complete API key. Sent together with `client_id`.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// Parameters of `POST /oauth/introspect`. Unknown parameters are ignored.
#[derive(Debug, ToSchema)]
#[schema(as = IntrospectionParameters)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct IntrospectionParameters {
    /// An API key or token. A text that cannot be one is an unknown token.
    #[schema(pattern = "[^\\t\\n\\f\\r ]")]
    token: String,
    /// Ignored. The type follows from the token itself.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
    /// The resource that a request concerns. The response then contains what access records grant
    /// on it.
    #[schema(nullable = false)]
    resource: Option<Resource>,
    /// Without credentials in the `Authorization` header: the id of the API key or its service
    /// client, or `<prefix>_<id>`.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// The complete API key. Sent together with `client_id`.
    #[schema(nullable = false)]
    client_secret: Option<String>,
}

/// The body of `POST /v1/import`.
#[derive(Debug)]
pub struct ImportBody;

impl PartialSchema for ImportBody {
    fn schema() -> RefOr<Schema> {
        from_json(json!({
            "type": "string",
            "contentMediaType": "application/x-ndjson",
            "pattern": r"^(\{[^\r\n]*\}\r?\n)*$",
            "description": "One JSON object on each line, at most 64 KiB long. `type` is `organization`, with `id` and the members of \
                OrganizationPut; `user`, with `id` and the members of UserPut; or `member`, with `organization_id`, `user_id` and the \
                members of MemberPut. A line may refer to objects of earlier lines.",
            "examples": ["{\"type\":\"organization\",\"id\":\"acme\"}\n{\"type\":\"user\",\"id\":\"auth0|alice\"}\n"],
        }))
    }
}

impl ToSchema for ImportBody {
    fn name() -> Cow<'static, str> {
        "ImportLines".into()
    }
}

/// The public keys that verify tokens.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by utoipa alone")]
pub struct Jwks {
    keys: Vec<PublicJwk>,
}

impl CacheableDocument for Jwks {
    const CONTENT_TYPE: &'static str = "application/jwk-set+json";
}

/// A signed status list.
#[derive(Debug)]
pub struct StatusListToken;

impl PartialSchema for StatusListToken {
    fn schema() -> RefOr<Schema> {
        from_json(json!({
            "type": "string",
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
            "description": "A JWT with `typ: statuslist+jwt`, signed with a key of the JWKS. `sub` is the URL of the list, `ttl` the number \
                of seconds for which it may be cached. `status_list` contains `bits` (2) and `lst` (zlib, in base64url).",
            "examples": ["eyJ0eXAiOiJzdGF0dXNsaXN0K2p3dCJ9.eyJ0dGwiOjYwfQ.c2lnbmF0dXJl"],
        }))
    }
}

impl ToSchema for StatusListToken {
    fn name() -> Cow<'static, str> {
        "StatusListToken".into()
    }
}

impl CacheableDocument for StatusListToken {
    const CONTENT_TYPE: &'static str = "application/statuslist+jwt";
}

impl CacheableDocument for StatusListAggregation {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl CacheableDocument for ResourceMetadata {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl CacheableDocument for ServerMetadata<'_> {
    const CONTENT_TYPE: &'static str = "application/json";
}
