//! Record-bound deployments, audiences and keys: tokens without a scope, which permit what access
//! records grant and nothing else.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Server, body_of, both, verify,
    wire::{exchange_of, form, problem},
};

const TYPE: &str = "urn:keyswap:params:oauth:authorization-details:access";
const DEFAULT: &str = "http://keyswap.test";
const API: &str = "https://api.test";

async fn prepare(server: &Server) {
    server.permissions_for_all(&["docs:read", "docs:edit"]).await;
    server.role("viewer", &["docs:read"]).await;
}

async fn key(server: &Server, record_bound: bool) -> (String, String) {
    let permissions = ["docs:read", "docs:edit", "keyswap:validate"];
    let client = json!({ "name": "c", "permissions": permissions });
    let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
    let owner = json!({ "type": "service_client", "id": client["id"] });
    let body = json!({ "name": "k", "owner": owner, "permissions": permissions, "record_bound": record_bound });
    let made = server.manage("POST", "/v1/api-keys", Some(body), 201).await;
    assert_eq!(made["record_bound"], record_bound);
    (made["id"].as_str().unwrap().to_owned(), made["value"].as_str().unwrap().to_owned())
}

async fn grant(server: &Server, key: &str, resources: &[&str]) -> String {
    let statements = json!([{ "roles": ["viewer"], "resources": resources }]);
    let body = json!({ "name": "r", "principals": [{ "type": "api_key", "id": key }], "statements": statements });
    let made = server.manage("POST", "/v1/access-records", Some(body), 201).await;
    format!("/v1/access-records/{}", made["id"].as_str().unwrap())
}

fn details(resources: &[&str]) -> Value {
    json!([{ "type": TYPE, "actions": ["docs:read"], "locations": resources }])
}

/// Exchanges a key and returns the response and the verified claims.
async fn exchanged(server: &Server, key: &str, body: Value) -> (Value, Value) {
    let audience = body["audience"].as_str().unwrap_or(DEFAULT).to_owned();
    let answer = body_of(server.exchange_for(key, body).await, StatusCode::OK).await;
    let claims = verify(server, answer["access_token"].as_str().unwrap(), &audience).await;
    assert_eq!(
        (&answer["scope"], &answer["authorization_details"]),
        (&claims["scope"], &claims["authorization_details"])
    );
    (answer, claims)
}

async fn explained(server: &Server, key: &str, body: Value) -> Value {
    body_of(server.post("/v1/exchange/explain").bearer_auth(key).json(&body).send().await.unwrap(), StatusCode::OK)
        .await
}

async fn validated(server: &Server, value: &str, required: &[&str], resource: Option<&str>) -> Value {
    let mut body = json!({ "value": value, "required_permissions": required });
    if let Some(resource) = resource {
        body["resource"] = json!(resource);
    }
    server.manage("POST", "/v1/api-keys/validate", Some(body), 200).await
}

async fn introspected(server: &Server, token: &str, resource: Option<&str>) -> Value {
    let parameters: Vec<_> =
        [Some(("token", token)), resource.map(|at| ("resource", at))].into_iter().flatten().collect();
    let request = form(server.post("/oauth/introspect").bearer_auth(&server.admin), &parameters);
    body_of(request.send().await.unwrap(), StatusCode::OK).await
}

async fn is_allowed(server: &Server, value: &str, permission: &str, resource: &str) -> bool {
    let body = json!({ "value": value, "permission": permission, "resource": resource });
    server.manage("POST", "/v1/access/check", Some(body), 200).await["allowed"].as_bool().unwrap()
}

/// Asserts that each answer about a bound key or token depends on the resource alone.
async fn assert_bound(server: &Server, value: &str) {
    let wanted = ["docs:read", "docs:edit"];
    let everywhere = validated(server, value, &wanted, None).await;
    assert_eq!(everywhere["api_key"]["permissions"], json!([]), "a service may read only these");
    assert_eq!(
        (&everywhere["missing_permissions"], &everywhere["record_bound"]),
        (&json!(["docs:edit", "docs:read"]), &json!(true))
    );
    assert_eq!(everywhere["authorization_details"], details(&["/a/*", "/b"]));
    let there = introspected(server, value, None).await;
    assert_eq!((there.get("scope"), &there["authorization_details"]), (None, &details(&["/a/*", "/b"])));
    for (resource, locations) in [("/a/1", Some("/a/*")), ("/b", Some("/b")), ("/b/1", None), ("/c", None)] {
        let found = validated(server, value, &wanted, Some(resource)).await;
        let (missing, expected) = match locations {
            Some(location) => (json!(["docs:edit"]), details(&[location])),
            None => (json!(["docs:edit", "docs:read"]), json!([])),
        };
        assert_eq!(
            (&found["missing_permissions"], &found["authorization_details"]),
            (&missing, &expected),
            "{resource}"
        );
        let found = introspected(server, value, Some(resource)).await;
        assert_eq!(found["scope"].as_str(), locations.map(|_| "docs:read"), "{resource}");
        assert_eq!((&found["active"], &found["authorization_details"]), (&json!(true), &expected), "{resource}");
        assert_eq!(is_allowed(server, value, "docs:read", resource).await, locations.is_some(), "{resource}");
        assert!(!is_allowed(server, value, "docs:edit", resource).await, "{resource}");
    }
}

/// Everything about a key whose tokens are record-bound for the default audience.
async fn bound_tokens(server: &Server, id: &str, key: &str) {
    // Nothing is allowed without a record.
    let (answer, claims) = exchanged(server, key, json!({})).await;
    assert_eq!((claims.get("scope"), claims.get("scp"), &claims["authorization_details"]), (None, None, &json!([])));
    assert_eq!(validated(server, key, &["docs:read"], Some("/a/1")).await["missing_permissions"], json!(["docs:read"]));
    let empty = answer["access_token"].as_str().unwrap().to_owned();
    let said = explained(server, key, json!({})).await;
    assert_eq!((&said["granted"], &said["record_bound"], &said["scope"]), (&json!(true), &json!(true), &json!([])));
    let by = said["removed"].as_array().unwrap().iter().find(|one| one["permission"] == "docs:read").unwrap();
    assert_eq!((&by["by"], &said["authorization_details"]), (&json!("access_records"), &json!([])));
    // A permission that no record grants anywhere cannot be requested.
    problem(server.exchange_for(key, json!({ "scope": "docs:read" })).await, 400, "invalid_scope").await;

    let record = grant(server, id, &["/a/*", "/b"]).await;
    for body in [json!({}), json!({ "scope": "docs:read" })] {
        let (answer, claims) = exchanged(server, key, body.clone()).await;
        assert_eq!(
            (claims.get("scope"), &claims["authorization_details"]),
            (None, &details(&["/a/*", "/b"])),
            "{body}"
        );
        assert_bound(server, answer["access_token"].as_str().unwrap()).await;
        let said = explained(server, key, body).await;
        assert_eq!(
            (&said["scope"], &said["authorization_details"]),
            (&json!(["docs:read"]), &details(&["/a/*", "/b"]))
        );
    }
    assert_bound(server, key).await;
    problem(server.exchange_for(key, json!({ "scope": "docs:edit" })).await, 400, "invalid_scope").await;
    problem(server.exchange_for(key, json!({ "scope": "docs:read docs:edit" })).await, 400, "invalid_scope").await;
    let token = body_of(server.token(&exchange_of(key)).await, StatusCode::OK).await;
    assert_eq!((token.get("scope"), &token["authorization_details"]), (None, &details(&["/a/*", "/b"])));

    // A token states what was granted to it: a record that came later adds nothing.
    assert!(!is_allowed(server, &empty, "docs:read", "/a/1").await);
    assert_eq!(introspected(server, &empty, Some("/a/1")).await["authorization_details"], json!([]));
    let token = token["access_token"].as_str().unwrap();
    let narrower = json!({ "statements": [{ "roles": ["viewer"], "resources": ["/a/1", "/c"] }] });
    server.manage("PATCH", &record, Some(narrower), 200).await;
    for (resource, allowed) in [("/a/1", true), ("/a/2", false), ("/b", false), ("/c", false)] {
        assert_eq!(is_allowed(server, token, "docs:read", resource).await, allowed, "{resource}");
    }
    assert_eq!(introspected(server, token, None).await["authorization_details"], details(&["/a/1"]));
    server.manage("DELETE", &record, None, 204).await;
    assert_eq!(introspected(server, token, None).await["authorization_details"], json!([]));

    // Tokens for Keyswap itself have a scope: resources belong to the product.
    let (_, claims) = exchanged(server, key, json!({ "audience": "http://keyswap.test/v1" })).await;
    assert_eq!((&claims["scope"], claims.get("authorization_details")), (&json!("keyswap:validate"), None));
    let body = json!({ "value": "x" });
    let asked = server.post("/v1/api-keys/validate").bearer_auth(key).json(&body).send().await.unwrap();
    assert_eq!(asked.status(), 200);
}

both! {
    async fn record_bound_key_has_tokens_without_scope(server: Server) {
        prepare(&server).await;
        let (id, value) = key(&server, true).await;
        bound_tokens(&server, &id, &value).await;
        // A key that is not record-bound keeps its scope, which holds for every resource.
        let (id, value) = key(&server, false).await;
        grant(&server, &id, &["/a/*"]).await;
        let (answer, claims) = exchanged(&server, &value, json!({})).await;
        assert_eq!((&claims["scope"], &claims["authorization_details"]), (&json!("docs:edit docs:read"), &details(&["/a/*"])));
        let token = answer["access_token"].as_str().unwrap();
        for value in [&value, token] {
            let found = validated(&server, value, &["docs:read"], None).await;
            assert_eq!((&found["missing_permissions"], &found["record_bound"]), (&json!([]), &json!(false)));
            assert_eq!(found["authorization_details"], details(&["/a/*"]));
            // With a resource, only the records count.
            for (resource, missing) in [("/a/1", json!([])), ("/b", json!(["docs:read"]))] {
                assert_eq!(validated(&server, value, &["docs:read"], Some(resource)).await["missing_permissions"], missing);
                let scope = introspected(&server, value, Some(resource)).await["scope"].clone();
                assert_eq!(scope, if missing == json!([]) { json!("docs:read") } else { Value::Null }, "{resource}");
            }
        }
        // Once it is bound, the tokens that it has already count as bound.
        server.manage("PATCH", &format!("/v1/api-keys/{id}"), Some(json!({ "record_bound": true })), 200).await;
        let found = introspected(&server, token, None).await;
        assert_eq!((found.get("scope"), &found["authorization_details"]), (None, &details(&["/a/*"])));
        assert_eq!(validated(&server, token, &["docs:read"], None).await["missing_permissions"], json!(["docs:read"]));
    }

    async fn record_bound_deployment_has_tokens_without_scope(server: Server, "tokens.record_bound=true") {
        prepare(&server).await;
        let (id, value) = key(&server, false).await;
        bound_tokens(&server, &id, &value).await;
    }

    async fn record_bound_audience_has_tokens_without_scope(server: Server) {
        prepare(&server).await;
        let audience = json!({ "identifier": API, "record_bound": true, "scope_claim": "scp" });
        let made = server.manage("POST", "/v1/audiences", Some(audience), 201).await;
        assert_eq!(made["record_bound"], true);
        let (id, value) = key(&server, false).await;
        let record = grant(&server, &id, &["/a/*"]).await;
        let (_, claims) = exchanged(&server, &value, json!({ "audience": API })).await;
        assert_eq!((claims.get("scp"), claims.get("scope"), &claims["authorization_details"]), (None, None, &details(&["/a/*"])));
        let (_, claims) = exchanged(&server, &value, json!({})).await;
        assert_eq!(claims["scope"], "docs:edit docs:read", "another audience");
        // A token for several audiences is bound if one of them is.
        let path = format!("/v1/audiences/{}", made["id"].as_str().unwrap());
        let changed = server.manage("PATCH", &path, Some(json!({ "scope_claim": null })), 200).await;
        assert_eq!(changed["record_bound"], true, "other members do not change it");
        let body = json!({ "audience": [DEFAULT, API] });
        let answer = body_of(server.exchange_for(&value, body).await, StatusCode::OK).await;
        assert_eq!((answer.get("scope"), &answer["authorization_details"]), (None, &details(&["/a/*"])));
        // A service that names its audience gets the same answer about the key itself.
        let body = json!({ "value": value, "required_permissions": ["docs:read"], "audience": API });
        assert_eq!(server.manage("POST", "/v1/api-keys/validate", Some(body), 200).await["missing_permissions"], json!(["docs:read"]));
        server.manage("DELETE", &record, None, 204).await;
        let (_, claims) = exchanged(&server, &value, json!({ "audience": API })).await;
        assert_eq!(claims["authorization_details"], json!([]));
        server.manage("PATCH", &path, Some(json!({ "record_bound": false })), 200).await;
        let (_, claims) = exchanged(&server, &value, json!({ "audience": API })).await;
        assert_eq!(claims["scope"], "docs:edit docs:read");
        // The management audience is never record-bound.
        let all = server.manage("GET", "/v1/audiences", None, 200).await;
        let management = all["data"].as_array().unwrap().iter().find(|one| one["built_in"] == "management").unwrap();
        let path = format!("/v1/audiences/{}", management["id"].as_str().unwrap());
        server.manage("PATCH", &path, Some(json!({ "record_bound": true })), 409).await;
    }

    // A caller that sends a resource by mistake must not get the answer for all resources.
    async fn resource_of_introspection_is_one_valid_resource(server: Server) {
        let key = server.generic_key(&["docs:read"]).await;
        for resource in [vec![""], vec!["/a", "/b"], vec!["a"], vec!["/a/*"], vec!["/a/../b"]] {
            let resources: Vec<_> = resource.iter().map(|text| ("resource", *text)).collect();
            let parameters = [[("token", key.value.as_str())].as_slice(), &resources].concat();
            let sent = form(server.post("/oauth/introspect").bearer_auth(&server.admin), &parameters).send().await.unwrap();
            let refusal = body_of(sent, StatusCode::BAD_REQUEST).await;
            assert_eq!(refusal["error"], "invalid_request", "{resource:?}");
        }
    }
}
