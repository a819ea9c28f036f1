//! Assembles the OpenAPI document from the routing table, the handler signatures and the attributes
//! of handlers. Every object schema is closed unless it declares `additionalProperties`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    http::{
        openapi::{
            answers::SCHEMAS_EXTENSION,
            failures::{self, KeyContext},
            schemas::collect_schemas,
            signature::{Described, ErrorFormat},
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
    fn add(&mut self, name: String, schema: Value) {
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
    components.add_type::<problem::Body<'static>>();
    components.add_type::<crate::http::oauth_error::Body>();
    let mut paths = Map::new();
    let mut ids = BTreeSet::new();
    for (path, endpoints) in routes::table() {
        let mut item = Map::new();
        for endpoint in endpoints {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let described = (endpoint.describe)(endpoint.name);
            let mut operation = operation(&path, &method, described, &mut components);
            let id = id(&mut ids, &operation, &method, &path);
            operation.insert("operationId".to_owned(), id.into());
            item.insert(method, operation.into());
        }
        paths.insert(path, item.into());
    }
    let Components { mut schemas, read } = components;
    for (name, schema) in &mut schemas {
        if !read.contains(name) {
            complete(schema);
        }
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
    close(&mut document);
    document
}

const DESCRIPTION: &str = "Swaps long-lived API keys for short-lived signed JWTs, and publishes the JWKS that lets every service verify \
    them alone.\n\nTimes are RFC 3339 in UTC. Lists page by cursor. An object that changes carries `version`, also as `ETag`, and \
    `If-Match` is honoured. Every answer has an `X-Request-Id`. A method that a path does not know is 405 with `Allow`; errors of \
    `/v1` are problems (RFC 9457), those of `/oauth` are as RFC 6749 §5.2 has them.";

/// Tags with the path segments they cover, not counting `v1`. The last tag covers all other paths.
const TAGS: [(&[&str], &str, &str); 10] = [
    (&["exchange", "oauth", "identity"], "Exchange", "An API key in, a signed token out."),
    (&[".well-known", "status-lists"], "Discovery", "What verifiers read and keep."),
    (&["api-keys", "portal-sessions"], "API keys", "Permissions, limits and a life, held by an owner."),
    (&["service-clients"], "Service clients", "Non-human identities with permissions of their own."),
    (&["access-records", "access"], "Access records", "Roles over resources."),
    (&["permissions", "roles"], "Permissions", "What may stand on a key, and on whose."),
    (&["audiences"], "Audiences", "The services that take tokens."),
    (&["signing-keys"], "Signing keys", "What tokens are signed with."),
    (&["events", "webhooks"], "Events", "The audit trail."),
    (&[], "Operations", "For operators and their machines."),
];

fn tag(path: &str) -> &'static str {
    let first = path.split('/').find(|part| !part.is_empty() && *part != "v1").unwrap_or_default();
    let found = TAGS.iter().find(|(firsts, ..)| firsts.contains(&first)).or(TAGS.last());
    found.map_or("", |(_, name, _)| name)
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key; on /v1 beside the exchange also a token for the audience `<public URL>/v1`, or that of a portal session.",
        },
        "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key." },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "A client id (of the key, its service client, or `<prefix>_<id>`) and the whole API key as its secret.",
        },
    })
}

fn operation(path: &str, method: &str, described: Described, components: &mut Components) -> Map<String, Value> {
    let Described { name, signature, operation, .. } = described;
    let Value::Object(mut operation) = operation else { return Map::new() };
    operation.insert("operationId".to_owned(), name.into());
    operation.insert("tags".to_owned(), json!([tag(path)]));
    match signature.needs {
        Some(needs) => {
            // OAuth clients authenticate with HTTP Basic instead of `X-API-Key`.
            let other = if signature.failures == ErrorFormat::Oauth { "basic" } else { "apiKey" };
            operation.insert(
                "security".to_owned(),
                needs
                    .permissions
                    .iter()
                    .flat_map(|one| [json!({ "bearer": [one] }), json!({ other: [one] })])
                    .collect(),
            );
            operation.insert("x-keyswap-permissions".to_owned(), json!(needs.permissions));
            let text = operation.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n"));
            let text = format!(
                "{}Needs the permission `{}`, to {}.",
                text.unwrap_or_default(),
                needs.permissions.join("` or `"),
                needs.action
            );
            operation.insert("description".to_owned(), text.into());
        }
        None => {
            operation.entry("security").or_insert(json!([]));
        }
    }
    let names: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
    let facts = KeyContext {
        method,
        accepts_bearer: operation["security"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one.get("bearer").is_some())),
        has_query: has_parameter(&operation, "query", None),
        has_if_match: has_parameter(&operation, "header", Some("If-Match")),
        has_id: !names.is_empty(),
        has_idempotency_key: has_parameter(&operation, "header", Some("Idempotency-Key")),
        requires_page_header: has_parameter(&operation, "header", Some("Keyswap-Page")),
        is_management: path.starts_with("/v1/"),
        signature: &signature,
    };
    let mut failures = failures::failures(&facts);
    name_path_parameters(&mut operation, &names);
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for response in responses.values_mut() {
            take_schemas(response, components);
        }
        failures.append(responses);
        if method == "head" {
            for response in failures.values_mut().filter_map(Value::as_object_mut) {
                response.remove("content");
            }
        }
        *responses = failures;
    }
    if let Some(body) = signature.body {
        let schema = json!({ "$ref": format!("#/components/schemas/{}", body.schema) });
        let body_of = json!({ "required": body.required, "content": { body.content_type: { "schema": schema } } });
        operation.insert("requestBody".to_owned(), body_of);
        for (name, schema) in body.schemas {
            let mut json = serde_json::to_value(schema).unwrap_or_default();
            if body.open && name == body.schema {
                json["additionalProperties"] = Value::Bool(true);
            }
            components.read.insert(name.clone());
            components.add(name, json);
        }
    }
    operation
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

/// The operation id: module and name of the handler. If a handler serves several routes, the method
/// and, if needed, the path make the id unique.
fn id(taken: &mut BTreeSet<String>, operation: &Map<String, Value>, method: &str, path: &str) -> String {
    let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let slug: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let candidates = [name.clone(), format!("{name}_{method}"), format!("{name}_{method}{slug}")];
    let id = candidates.into_iter().find(|id| !taken.contains(id)).unwrap_or(name);
    taken.insert(id.clone());
    id
}

/// Marks the nullable properties of a response schema as required, since responses contain them
/// with the value `null`. Optional properties declare `nullable = false`.
fn complete(schema: &mut Value) {
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
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.contains_key("properties") && map.get("type").is_some_and(|kind| kind == "object") {
                map.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::http::routes;

    #[test]
    fn attributes_name_the_method_of_their_route() {
        for (path, endpoints) in routes::table() {
            for endpoint in endpoints {
                let described = (endpoint.describe)(endpoint.name);
                let method = endpoint.method.as_str().to_ascii_lowercase().replace("head", "get");
                assert_eq!(described.method.as_deref(), Some(method.as_str()), "{path}: {}", endpoint.name);
            }
        }
    }
}
