//! General requirements on the OpenAPI document.

use std::{collections::BTreeSet, fs, path::Path};

use keyswap::domain::access::policy;
use serde_json::{Value, json};

use super::{document, operations, visit_values};

#[test]
fn committed_document_equals_the_generated_one() {
    let made = keyswap::http::openapi::document("http://127.0.0.1:8080").unwrap().body;
    let committed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json")).unwrap();
    let first = made.split(|byte| *byte == b'\n').zip(committed.split(|byte| *byte == b'\n')).position(|(a, b)| a != b);
    assert!(
        *made == *committed,
        "the API is another than docs/openapi.json says, from line {:?} on. If that is meant: cargo run -- openapi > docs/openapi.json",
        first.map(|line| line + 1)
    );
}

/// Paths that token verifiers read.
const PUBLIC: &str = "/v1/status-lists";

/// Whether an operation below `/v1` is public and needs no credential.
fn is_public(method: &str, path: &str) -> bool {
    path.starts_with(PUBLIC) || (method, path) == ("get", "/v1/branding")
}

/// Schemas that deliberately allow additional properties, with the reason.
const FREE: [(&str, &str); 6] = [
    ("Metadata", "belongs to the product"),
    ("Introspection", "has the claims that an audience takes from metadata"),
    ("OpenApi", "is described by its own standard"),
    ("TokenRequest", "unknown parameters are passed over (RFC 6749 section 3.2)"),
    ("IntrospectionParameters", "unknown parameters are passed over (RFC 6749 section 3.2)"),
    ("TokenParameters", "unknown parameters are passed over (RFC 6749 section 3.2)"),
];

#[test]
fn every_object_schema_is_closed() {
    let document = document();
    let mut objects = 0;
    visit_values(&document["components"], "", &mut |path, value| closed(path, value, &mut objects));
    visit_values(&document["paths"], "", &mut |path, value| closed(path, value, &mut objects));
    assert!(objects > 30, "no objects were found");
    for (name, _) in FREE {
        assert_eq!(document["components"]["schemas"][name]["additionalProperties"], true, "{name} is free no more");
    }
}

fn closed(path: &str, value: &Value, objects: &mut usize) {
    let is_object = value
        .get("type")
        .is_some_and(|kind| kind == "object" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("object"))));
    // `properties` may contain a member named `type`, whose value is a schema.
    if !is_object || path.ends_with("/properties") || path.contains("/examples/") {
        return;
    }
    *objects += 1;
    if value["additionalProperties"].is_object() {
        // A map: the caller chooses the names, and the schema describes the values.
        return;
    }
    let free = FREE.iter().any(|(name, _)| path == format!("/schemas/{name}"));
    assert!(free || value["additionalProperties"] == false, "{path} is open");
    assert!(free || value["properties"].as_object().is_some_and(|all| !all.is_empty()), "{path} has no members");
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    visit_values(&document, "", &mut |path, value| {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
        let found = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(found.is_some(), "{path} refers to {reference}");
        used.insert(reference.to_owned());
    });
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is not referenced");
        }
    }
}

/// The style of the operation ids, which are the names of the functions of generated clients.
fn is_verb_and_object(method: &str, id: &str) -> bool {
    let verbs: &[&str] = match method {
        "get" => &["get", "list"],
        "put" => &["put"],
        "patch" => &["update"],
        "delete" => &["delete"],
        _ => &[
            "create",
            "delete",
            "import",
            "rotate",
            "cancel",
            "suspend",
            "resume",
            "revoke",
            "exchange",
            "explain",
            "introspect",
            "validate",
            "check",
            "test",
            "retry",
            "lock",
            "unlock",
        ],
    };
    id.split_once('_').is_some_and(|(verb, object)| {
        let is_plural = object.ends_with('s')
            && !["jwks", "docs", "metrics", "key_statistics", "access", "liveness", "readiness"].contains(&object);
        verbs.contains(&verb)
            && (is_plural == (verb == "list") || verb == "delete")
            && object.split('_').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
    })
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let summary = operation.get("summary").and_then(Value::as_str).unwrap_or_default();
        assert!(summary.ends_with(['.', ':']) && !summary.contains('\n'), "{at}: {summary:?} is no summary of a line");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{at}: its id is taken");
        assert!(is_verb_and_object(method, id), "{at}: {id} is not one of the verbs of this method and an object");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)), "{at}: unknown tag");
        assert!(operation.contains_key("security"), "{at}: who may call is not said");
        let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
        assert!(statuses.iter().any(|status| status.starts_with('2')), "{at}: no success");
        if (path.starts_with("/v1/") && !is_public(method, path)) || path.starts_with("/oauth/") {
            assert!(
                ["400", "401", "429", "500", "503"].iter().all(|one| statuses.contains(&&(*one).to_owned())),
                "{at}"
            );
        }
        let in_path: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = parameters.iter().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap());
        assert_eq!(named.collect::<Vec<_>>(), in_path, "{at}: other parameters than in the path");
        for parameter in &parameters {
            assert!(parameter["schema"].as_object().is_some_and(|schema| !schema.is_empty()), "{at}: {parameter}");
        }
    }
}

/// Detects types without a schema, which would appear as empty objects.
#[test]
fn no_description_is_empty() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let says = ["type", "oneOf", "allOf", "$ref"].iter().any(|word| schema.get(word).is_some());
        assert!(says, "{name}: {schema}");
        if schema["type"] == "string" {
            assert!(["pattern", "enum", "format"].iter().any(|word| schema.get(word).is_some()), "{name} is any text");
            assert!(schema["examples"].as_array().is_some_and(|all| !all.is_empty()), "{name} has no example");
        }
    }
    for (path, method, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = response["$ref"].as_str().map_or(response, |name| document.pointer(&name[1..]).unwrap());
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{method} {path} {status}");
            let has_body = response.get("content").is_some();
            // RFC 7009 section 2.2: the client ignores the body.
            let empty = path == "/oauth/revoke" && status == "200";
            let may = empty || ["204", "304"].contains(&status.as_str());
            assert!(has_body || may, "{method} {path} {status}: with nothing in it");
        }
    }
}

#[test]
fn permissions_match_the_policy_table() {
    let document = document();
    let mut said = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        match operation.get("x-keyswap-permissions").map(|all| all.as_array().unwrap()) {
            Some(permissions) => {
                said.insert(permissions.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>());
                for (place, permission) in permissions.iter().enumerate() {
                    assert_eq!(operation["security"][2 * place]["bearer"], json!([permission]), "{method} {path}");
                }
            }
            None => {
                let may_be = path.starts_with("/v1/exchange") || is_public(method, path);
                assert!(!path.starts_with("/v1/") || may_be, "{method} {path} is open");
            }
        }
    }
    // Some actions have no endpoint of their own.
    let table: BTreeSet<_> = policy::TABLE.iter().map(|(_, permissions)| permissions.to_vec()).collect();
    let unknown: Vec<_> = said.difference(&table).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
