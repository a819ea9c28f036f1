//! Assembles the OpenAPI document from the routing table, the handler signatures and the attributes
//! of handlers. Every object schema is closed unless it declares `additionalProperties`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    http::{
        error::ErrorFormat,
        extract::MERGE_PATCH,
        openapi::{
            failures::{self, OperationProperties},
            responses::{SCHEMAS_EXTENSION, describe_conditional_read},
            schemas::collect_schemas,
            signature::{Body, HandlerDescription, PermissionRequirement},
        },
        problem, routes,
    },
    service::{Error, common::document::CachedDocument},
};

/// The OpenAPI document of the deployment at `public_url`.
pub fn document(public_url: &str) -> Result<CachedDocument, Error> {
    let mut text = serde_json::to_vec_pretty(&build_json(public_url))?;
    text.push(b'\n');
    Ok(CachedDocument::from_bytes(text))
}

/// Schemas by name, and the names of those that occur in request bodies.
#[derive(Default)]
struct Components {
    schemas: BTreeMap<String, Value>,
    read: BTreeSet<String>,
}

impl Components {
    fn add(&mut self, name: String, mut schema: Value) {
        merge_parts(&mut schema);
        self.schemas.entry(name).or_insert(schema);
    }

    fn add_type<T: ToSchema>(&mut self) {
        for (name, schema) in collect_schemas::<T>().1 {
            self.add(name, serde_json::to_value(schema).unwrap_or_default());
        }
    }
}

fn build_json(public_url: &str) -> Value {
    let mut components = Components::default();
    components.add_type::<problem::ProblemBody>();
    components.add_type::<crate::http::oauth_error::OAuthErrorBody>();
    let mut paths = Map::new();
    for (path, endpoints) in routes::all_routes() {
        let mut item = Map::new();
        for endpoint in endpoints {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let mut operation = describe_operation(path, &method, (endpoint.describe)(), &mut components);
            operation.insert("operationId".to_owned(), endpoint.id.into());
            item.insert(method, operation.into());
        }
        paths.insert(path.to_owned(), item.into());
    }
    let Components { mut schemas, read } = components;
    for (name, schema) in &mut schemas {
        if !read.contains(name) {
            require_nullable_properties(schema);
        }
    }
    // It has the claims that an audience takes from metadata as well.
    if let Some(introspection) = schemas.get_mut("Introspection") {
        introspection["additionalProperties"] = true.into();
    }
    // Either a presented value, with or without its audience, or a principal.
    if let Some(question) = schemas.get_mut("AccessQuestion") {
        question["anyOf"] = json!([
            { "required": ["value"], "not": { "required": ["principal"] } },
            { "required": ["principal"], "not": { "anyOf": [{ "required": ["value"] }, { "required": ["audience"] }] } },
        ]);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keyswap",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": public_url }],
        "tags": TAGS.map(|(_, name, text)| json!({ "name": name, "description": text })),
        "paths": paths,
        "components": { "schemas": schemas, "responses": failures::error_components(), "securitySchemes": security_schemes() },
    });
    close_objects(&mut document);
    document
}

const DESCRIPTION: &str = "Exchanges long-lived API keys for short-lived signed JWTs, and publishes the JWKS with which every service verifies \
    them.\n\nTimestamps are in RFC 3339 format and UTC. Lists are paginated with a cursor. An object that can change has a \
    `version`. Its ETag is the version with a digest of the representation, and changes accept `If-Match` with this tag or with the \
    version alone, and `If-None-Match`. Every path that answers GET answers HEAD in the same way, without the body. Every response has an `X-Request-Id`. Unknown query parameters and unknown \
    members of a body are refused, except by the operations of OAuth and by public documents. A method that a path does not support is \
    answered with 405 and `Allow`. Errors of `/v1` are problem details (RFC 9457), those of `/oauth` follow RFC 6749 §5.2.";

/// Tags with the path segments they cover, not counting `v1`. The last tag covers all other paths.
const TAGS: [(&[&str], &str, &str); 10] = [
    (&["exchange", "oauth", "identity"], "Exchange", "Exchange an API key for a signed token."),
    (&[".well-known", "status-lists"], "Discovery", "Documents that token verifiers retrieve and cache."),
    (&["api-keys", "portal-sessions"], "API keys", "API keys with an owner, permissions, limits and a lifecycle."),
    (&["service-clients"], "Service clients", "Non-human identities with their own permissions."),
    (&["access-records", "access"], "Access records", "Roles on resources."),
    (&["permissions", "roles"], "Permissions", "The catalog of permissions, and roles that combine them."),
    (&["audiences"], "Audiences", "Services that accept tokens."),
    (&["signing-keys"], "Signing keys", "Keys that sign tokens."),
    (&["events", "webhooks"], "Events", "The audit log, and its delivery to webhooks."),
    (&[], "Operations", "The directory, branding, health and metrics."),
];

fn find_tag(path: &str) -> &'static str {
    let first = path.split('/').find(|part| !part.is_empty() && *part != "v1").unwrap_or_default();
    let found = TAGS.iter().find(|(firsts, ..)| firsts.contains(&first)).or(TAGS.last());
    found.map_or("", |(_, name, _)| name)
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key. Operations of /v1 except the exchange also accept a token for the audience `<public URL>/v1`, or the token of a portal \
                session.",
        },
        "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key." },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "A client id (the id of the key or of its service client, or `<prefix>_<id>`), and the complete API key as the secret.",
        },
    })
}

fn describe_operation(
    path: &str,
    method: &str,
    described: HandlerDescription,
    components: &mut Components,
) -> Map<String, Value> {
    let HandlerDescription { signature, operation, .. } = described;
    let Value::Object(mut operation) = operation else { return Map::new() };
    operation.insert("tags".to_owned(), json!([find_tag(path)]));
    match &signature.needs {
        Some(permission) => describe_permission(&mut operation, permission, signature.error_format),
        None => {
            operation.entry("security").or_insert(json!([]));
        }
    }
    let names: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
    name_path_parameters(&mut operation, &names);
    let accepts_bearer =
        operation["security"].as_array().into_iter().flatten().any(|scheme| scheme.get("bearer").is_some());
    let properties = OperationProperties {
        method,
        accepts_bearer,
        has_query: has_parameter(&operation, "query", None),
        has_if_match: has_parameter(&operation, "header", Some("If-Match")),
        has_id: !names.is_empty(),
        has_idempotency_key: has_parameter(&operation, "header", Some("Idempotency-Key")),
        requires_page_header: has_parameter(&operation, "header", Some("Keyswap-Page")),
        signature: &signature,
    };
    let mut responses = failures::failures(&properties);
    if let Some(Value::Object(successes)) = operation.get_mut("responses") {
        for response in successes.values_mut() {
            take_schemas(response, components);
        }
        responses.append(successes);
    }
    if method == "get" && (path.starts_with("/v1/") || responses.contains_key("304")) {
        describe_conditional_read(&mut operation, &mut responses, signature.is_public);
    }
    operation.insert("responses".to_owned(), responses.into());
    if let Some(body) = signature.body {
        let mut body = describe_body(body, components);
        if method == "patch" {
            body["content"][MERGE_PATCH] = body["content"]["application/json"].clone();
        }
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// Adds the permission of an operation to its security requirements and to its description.
fn describe_permission(operation: &mut Map<String, Value>, needs: &PermissionRequirement, format: ErrorFormat) {
    // OAuth clients authenticate with HTTP Basic instead of `X-API-Key`.
    let other = if format == ErrorFormat::Oauth { "basic" } else { "apiKey" };
    let requirements = needs.permissions.iter().flat_map(|one| [json!({ "bearer": [one] }), json!({ other: [one] })]);
    operation.insert("security".to_owned(), requirements.collect());
    operation.insert("x-keyswap-permissions".to_owned(), json!(needs.permissions));
    let description = operation.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n"));
    let text = format!(
        "{}Requires the permission `{}`, to {}.",
        description.unwrap_or_default(),
        needs.permissions.join("` or `"),
        needs.action
    );
    operation.insert("description".to_owned(), text.into());
}

/// Adds the schemas of a request body to the components of the document.
fn describe_body(body: Body, components: &mut Components) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{}", body.schema) });
    for (name, schema) in body.schemas {
        let mut json = serde_json::to_value(schema).unwrap_or_default();
        if body.open && name == body.schema {
            json["additionalProperties"] = Value::Bool(true);
        }
        components.read.insert(name.clone());
        components.add(name, json);
    }
    json!({ "required": body.required, "content": { body.content_type: { "schema": schema } } })
}

fn has_parameter(operation: &Map<String, Value>, place: &str, name: Option<&str>) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.into_iter().flatten().any(|one| one["in"] == place && name.is_none_or(|name| one["name"] == name))
}

/// Sets the names of the path parameters, in the order in which the route lists them.
fn name_path_parameters(operation: &mut Map<String, Value>, names: &[&str]) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let in_path = parameters.into_iter().flatten().filter(|parameter| parameter["in"] == "path");
    for (parameter, name) in in_path.zip(names) {
        parameter["name"] = (*name).into();
    }
}

/// Moves the schemas of a response to the components of the document.
fn take_schemas(response: &mut Value, components: &mut Components) {
    let taken = response.as_object_mut().and_then(|response| response.remove(SCHEMAS_EXTENSION));
    let Some(Value::Array(schemas)) = taken else { return };
    for schema in schemas {
        if let Ok((name, schema)) = serde_json::from_value::<(String, Value)>(schema) {
            components.add(name, schema);
        }
    }
}

/// Merges the parts of a schema with flattened members into one object.
fn merge_parts(schema: &mut Value) {
    let Some(Value::Array(parts)) = schema.as_object_mut().and_then(|schema| schema.remove("allOf")) else { return };
    for mut part in parts {
        for (name, member) in part.as_object_mut().into_iter().flatten() {
            match (&mut schema[name], member) {
                (Value::Object(all), Value::Object(more)) => all.append(more),
                (Value::Array(all), Value::Array(more)) => all.append(more),
                (first @ Value::Null, member) => *first = member.take(),
                _ => {}
            }
        }
    }
}

/// Marks the nullable properties of a response schema as required, since responses contain them
/// with the value `null`. Optional properties declare `nullable = false`.
fn require_nullable_properties(schema: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let nullable = properties.iter().filter(|(_, schema)| is_nullable(schema)).map(|(name, _)| name.clone());
    let required =
        schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned));
    let all: BTreeSet<_> = nullable.chain(required).collect();
    schema["required"] = all.into_iter().collect();
}

fn is_nullable(schema: &Value) -> bool {
    let kinds = schema["type"].as_array().into_iter().flatten();
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    kinds.chain(choices.map(|choice| &choice["type"])).any(|kind| kind == "null")
}

/// Closes every object schema that does not declare `additionalProperties`.
fn close_objects(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.contains_key("properties") && map.get("type").is_some_and(|kind| kind == "object") {
                map.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            map.values_mut().for_each(close_objects);
        }
        Value::Array(all) => all.iter_mut().for_each(close_objects),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
