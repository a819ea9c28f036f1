//! A member of a body is `null` only where the OpenAPI document says so: there it removes a value. Everywhere else
//! `null` would mean nothing, and is refused with the name of the member. PATCH is a merge patch (RFC 7396).

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    stored_state,
    undocumented::{document, request},
};
use crate::{
    openapi::operations,
    support::{body_of, both, wire::problem},
};

pub fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolve(document, document.pointer(&reference[1..]).unwrap()),
        None => schema,
    }
}

fn is_nullable(document: &Value, schema: &Value) -> bool {
    let schema = resolve(document, schema);
    let types = schema["type"].as_array().into_iter().flatten();
    let choices = ["oneOf", "anyOf"].iter().flat_map(|name| schema[name].as_array().into_iter().flatten());
    types.chain([&schema["type"]]).any(|kind| kind == "null")
        || choices.into_iter().any(|one| is_nullable(document, one))
}

/// An object that has every member of a JSON body, each with whether it may be `null`.
fn members(document: &Value, operation: &serde_json::Map<String, Value>) -> Vec<(String, bool)> {
    let Some(content) = operation.get("requestBody").map(|body| &body["content"]["application/json"]["schema"]) else {
        return Vec::new();
    };
    let properties = resolve(document, content)["properties"].as_object().into_iter().flatten();
    properties.map(|(name, schema)| (name.clone(), is_nullable(document, schema))).collect()
}

both! {
    async fn null_is_refused_by_every_operation_unless_it_is_documented(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let (mut refused, mut accepted) = (0, 0);
        for (path, method, operation) in operations(&document) {
            for (name, nullable) in members(&document, operation) {
                let at = format!("{method} {path} {name}");
                // The unknown member keeps every request from being effective. The first fault is that of `null`.
                let body = format!("{{\"{name}\":null,\"no_such_member\":1}}");
                let request = request(&server, path, method, operation, "").header("content-type", "application/json");
                let body = problem(request.body(body).send().await.unwrap(), 422, "invalid").await;
                let fault = &body["errors"][0];
                if nullable {
                    accepted += 1;
                    assert_eq!(fault["field"], "no_such_member", "{at}: {body}");
                } else {
                    refused += 1;
                    assert_eq!(fault["field"], name, "{at}: {body}");
                    assert!(fault["message"].as_str().unwrap().starts_with("must "), "{at}: {body}");
                }
            }
        }
        assert!(refused > 60 && accepted > 25, "{refused} refused and {accepted} accepted");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn a_member_that_every_patch_accepts_as_null_is_null_or_has_a_default_in_the_object(server: Server) {
        // `null` selects the default of these members, which the object shows.
        const DEFAULTS: [&str; 5] = ["typ", "scope_claim", "aud_claim", "claims", "status"];
        let document = document(&server).await;
        let mut checked = 0;
        for (path, method, operation) in operations(&document) {
            if method != "patch" {
                continue;
            }
            let schema = resolve(&document, &operation["responses"]["200"]["content"]["application/json"]["schema"]);
            for (name, _) in members(&document, operation).into_iter().filter(|(_, nullable)| *nullable) {
                checked += 1;
                let in_object = is_nullable(&document, &schema["properties"][&name]);
                assert!(in_object || DEFAULTS.contains(&name.as_str()), "{path} {name}");
            }
        }
        assert!(checked > 10, "{checked}");
    }

    async fn patch_is_a_merge_patch_by_either_media_type(server: Server) {
        let key = server.generic_key(&[]).await;
        let client = server.client_key(&[]).await.client;
        for (path, put) in [("/v1/organizations/acme", json!({})), ("/v1/users/ada", json!({})), ("/v1/organizations/acme/members/ada", json!({ "roles": [] }))] {
            server.manage("PUT", path, Some(put), 201).await;
        }
        for (path, member) in [
            (format!("/v1/api-keys/{}", key.id), "metadata"), (format!("/v1/service-clients/{client}"), "metadata"),
            ("/v1/organizations/acme".to_owned(), "metadata"), ("/v1/organizations/acme/members/ada".to_owned(), "metadata"),
            ("/v1/users/ada".to_owned(), "metadata"), ("/v1/users/ada".to_owned(), "profile"),
        ] {
            for (n, media_type) in ["application/json", "application/merge-patch+json", "Application/Merge-Patch+JSON; charset=utf-8"].into_iter().enumerate() {
                let patch = async |value: Value, status: u16| {
                    let body = json!({ member: value }).to_string();
                    let request = server.http.patch(server.url(&path)).bearer_auth(&server.admin).header("content-type", media_type).body(body);
                    body_of(request.send().await.unwrap(), StatusCode::from_u16(status).unwrap()).await
                };
                patch(json!({ "plan": "pro", "a": { "b": n, "c": [1, null] } }), 200).await;
                let merged = patch(json!({ "a": { "b": null, "d": 1 }, "team": "x" }), 200).await;
                assert_eq!(merged[member], json!({ "plan": "pro", "a": { "c": [1, null], "d": 1 }, "team": "x" }), "{path}");
                let reduced = patch(json!({ "a": null, "team": null, "absent": null }), 200).await;
                assert_eq!(reduced[member], json!({ "plan": "pro" }), "{path}");
                // The size after the merge counts.
                let large = "x".repeat(10_000);
                patch(json!({ "large": large }), 200).await;
                let refused = patch(json!({ "more": large }), 422).await;
                assert_eq!(refused["errors"][0]["field"], member, "{path}: {refused}");
                patch(json!({ "large": null }), 200).await;
                patch(Value::Null, 422).await;
            }
        }
        let id = server.audience("https://a.test/", None).await["id"].as_str().unwrap().to_owned();
        let patch = async |claims: Value| {
            server.manage("PATCH", &format!("/v1/audiences/{id}"), Some(json!({ "claims": claims })), 200).await["claims"].take()
        };
        patch(json!({ "team": "user.metadata.team", "plan": "organization.metadata.plan" })).await;
        assert_eq!(patch(json!({ "team": null, "tier": "user.metadata.tier" })).await, json!({ "plan": "organization.metadata.plan", "tier": "user.metadata.tier" }));
        assert_eq!(patch(json!({ "plan": "user.metadata.plan" })).await, json!({ "plan": "user.metadata.plan", "tier": "user.metadata.tier" }));
        assert_eq!(patch(Value::Null).await, json!({}));
    }
}
