//! `POST /v1/access/check`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::support::{
    both,
    wire::{problem, snapshot, unknown, wrong},
};

async fn checked(server: &Server, body: Value) -> (StatusCode, Vec<String>, String) {
    snapshot(call(server, &server.admin, "POST", "/v1/access/check", Some(body), &[]).await).await
}

both! {
    // Features: A8.
    async fn key_for_resources_of_one_user_is_refused_on_those_of_another(server: Server) {
        sample_roles(&server).await;
        user(&server, "alice", &["Viewer", "Editor"]).await;
        user(&server, "bob", &["Viewer"]).await;
        let key = personal_key(&server, "alice", None, &["docs:read"]).await;
        for name in ["alice", "bob"] {
            make(&server, record("user", name, json!([statement(&["Viewer", "Editor"], &[&format!("/Users/{name}/Resources/*")])]))).await;
        }
        let token = server.fetch_token(&key.value).await;
        let principal = json!({ "type": "user", "id": "alice" });
        for (permission, resource, allowed) in [
            ("docs:read", "/Users/alice/Resources/7", true), ("docs:read", "/Users/alice/Resources/7/parts/1", true),
            ("docs:read", "/Users/bob/Resources/7", false), ("docs:read", "/Users/alice2/Resources/7", false),
            ("docs:read", "/Users/alice/Resources", false), ("docs:read", "/Users/alice/Other/7", false),
            ("docs:create", "/Users/alice/Resources/7", false),
        ] {
            let ask = |who: &str, value: &Value| asked(&server, json!({ who: value, "permission": permission, "resource": resource }));
            assert_eq!(ask("value", &json!(key.value)).await, allowed, "{permission} {resource}");
            assert_eq!(ask("value", &json!(format!("Bearer {}", key.value))).await, allowed);
            assert_eq!(ask("value", &json!(token)).await, allowed);
            assert_eq!(ask("principal", &principal).await, allowed);
            assert_eq!(ask("principal", &json!({ "type": "api_key", "id": key.id })).await, allowed);
        }
        // The user has `docs:edit` on the resource, but the key was not granted it.
        let edit = |who: &str, value: Value| json!({ who: value, "permission": "docs:edit", "resource": "/Users/alice/Resources/7" });
        assert!(asked(&server, edit("principal", principal)).await);
        assert!(!asked(&server, edit("value", json!(key.value))).await);
        // No path traversal into Bob's resources is a valid resource.
        for resource in ["/Users/alice/Resources/../../bob/Resources/7", "/Users/alice/Resources/%2E%2E/x", "/Users/alice/Resources/..;/x", "/Users/alice//x", "/Users/*/Resources/7", "Users/alice"] {
            let refusal = json!({ "value": key.value, "permission": "docs:read", "resource": resource });
            assert_eq!(server.manage("POST", "/v1/access/check", Some(refusal), 422).await["errors"][0]["field"], "resource");
        }
    }

    async fn inactive_principals_are_denied_with_identical_responses(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "alice", &[]).await;
        member(&server, "acme", "alice", &["Viewer"]).await;
        let key = personal_key(&server, "alice", Some("acme"), &["docs:read"]).await;
        let mut body = record("user", "alice", json!([statement(&["Viewer"], &["/a"])]));
        body["organization_id"] = json!("acme");
        make(&server, body).await;
        let token = server.fetch_token(&key.value).await;
        let ask = |who: &str, value: Value| json!({ who: value, "permission": "docs:read", "resource": "/a" });
        let inside = json!({ "type": "user", "id": "alice", "organization_id": "acme" });
        for asking in [ask("value", json!(key.value)), ask("value", json!(token)), ask("principal", inside.clone())] {
            assert!(asked(&server, asking).await);
        }
        let no = checked(&server, ask("value", json!("nonsense"))).await;
        assert_eq!(no.2, r#"{"allowed":false}"#);
        for value in [unknown(), wrong(&key.value), String::new(), format!("{token}x"), "a.b.c".to_owned()] {
            assert_eq!(checked(&server, ask("value", json!(value))).await, no, "{value}");
        }
        for principal in [
            json!({ "type": "user", "id": "alice" }), json!({ "type": "user", "id": "carol" }),
            json!({ "type": "user", "id": "alice", "organization_id": "other" }), json!({ "type": "api_key", "id": "key_00000000000000000000000000" }),
            json!({ "type": "api_key", "id": key.id, "organization_id": "other" }), json!({ "type": "service_client", "id": "svc_00000000000000000000000000" }),
        ] {
            assert_eq!(checked(&server, ask("principal", principal.clone())).await, no, "{principal}");
        }
        // Covers a user that is blocked and unblocked, and a revoked key.
        let of_key = json!({ "type": "api_key", "id": key.id });
        for (change, is_in_force) in [(json!({ "blocked": true }), false), (json!({ "blocked": false }), true)] {
            server.manage("PATCH", "/v1/users/alice", Some(change), 200).await;
            for asking in [ask("value", json!(key.value)), ask("value", json!(token)), ask("principal", inside.clone()), ask("principal", of_key.clone())] {
                assert_eq!(asked(&server, asking).await, is_in_force);
            }
        }
        server.step(&key, "revoke").await;
        for asking in [ask("value", json!(key.value)), ask("value", json!(token)), ask("principal", of_key)] {
            assert_eq!(checked(&server, asking).await, no);
        }
        assert!(asked(&server, ask("principal", inside)).await, "the user is still there");
    }

    async fn token_is_denied_beyond_its_scope_and_lifetime(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read", "docs:edit"]).await;
        make(&server, record("api_key", &key.id, json!([statement(&["Admin"], &["/a"])]))).await;
        let token_profile = json!({ "identifier": "https://a.test/", "typ": "JWT", "scope_claim": "scp" });
        server.manage("POST", "/v1/audiences", Some(token_profile), 201).await;
        for asked_for in [json!({ "scope": "docs:read" }), json!({ "scope": "docs:read", "audience": "https://a.test/" })] {
            let body = body_of(server.exchange_for(&key.value, asked_for).await, StatusCode::OK).await;
            let ask = |permission: &str| asked(&server, json!({ "value": body["access_token"], "permission": permission, "resource": "/a" }));
            assert!(ask("docs:read").await);
            assert!(!ask("docs:edit").await, "the key may, and the token does not carry it");
        }
        let token = server.fetch_token(&key.value).await;
        let ask = || asked(&server, json!({ "value": token, "permission": "docs:edit", "resource": "/a" }));
        assert!(ask().await);
        server.advance(3600);
        assert!(!ask().await);
    }

    async fn presented_credential_must_be_valid_for_the_calling_service(server: Server) {
        sample_roles(&server).await;
        for (identifier, takes) in [("https://a.test/", "docs:read"), ("https://b.test/", "docs:edit")] {
            let audience = json!({ "identifier": identifier, "permissions": [takes] });
            server.manage("POST", "/v1/audiences", Some(audience), 201).await;
        }
        let body = json!({ "name": "k", "owner": { "type": "none" }, "permissions": ["docs:read", "docs:edit"], "audiences": ["https://a.test/"] });
        let key = server.key(body).await;
        make(&server, record("api_key", &key.id, json!([statement(&["Admin"], &["/a"])]))).await;
        let token = body_of(server.exchange_for(&key.value, json!({ "audience": "https://a.test/" })).await, StatusCode::OK).await;
        for value in [&key.value, token["access_token"].as_str().unwrap()] {
            let ask = |audience: Option<&str>, permission: &str| {
                let mut body = json!({ "value": format!("Bearer {value}"), "permission": permission, "resource": "/a" });
                if let Some(audience) = audience { body["audience"] = json!(audience); }
                asked(&server, body)
            };
            assert!(ask(None, "docs:read").await && ask(Some("https://a.test/"), "docs:read").await);
            assert!(!ask(Some("https://a.test/"), "docs:edit").await, "that service does not take it");
            assert!(!ask(Some("https://b.test/"), "docs:edit").await, "the key is not for that service");
            assert!(!ask(Some("https://c.test/"), "docs:read").await, "there is no such service");
        }
        let principal = json!({ "principal": { "type": "api_key", "id": key.id }, "audience": "https://a.test/", "permission": "a", "resource": "/a" });
        assert_eq!(server.manage("POST", "/v1/access/check", Some(principal), 422).await["errors"][0]["field"], "audience");
    }

    async fn service_client_is_checked_by_its_own_records(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "alice", &["Viewer"]).await;
        for owner in [json!({ "type": "account" }), json!({ "type": "organization", "id": "acme" }), json!({ "type": "user", "id": "alice" })] {
            let body = json!({ "name": "a", "owner": owner, "permissions": ["docs:read"] });
            let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
            let mut body = record("service_client", client["id"].as_str().unwrap(), json!([statement(&["Admin"], &["/a"])]));
            body["organization_id"] = client["owner"]["organization_id"].clone();
            make(&server, body).await;
            let ask = |permission: &str| {
                asked(&server, json!({ "principal": { "type": "service_client", "id": client["id"] }, "permission": permission, "resource": "/a" }))
            };
            assert!(ask("docs:read").await, "{owner}");
            assert!(!ask("docs:edit").await, "{owner}");
            match owner["type"].as_str().unwrap() {
                "organization" => drop(server.manage("DELETE", "/v1/organizations/acme", None, 204).await),
                "user" => drop(server.manage("PATCH", "/v1/users/alice", Some(json!({ "roles": [] })), 200).await),
                _ => drop(server.manage("DELETE", &format!("/v1/service-clients/{}", client["id"].as_str().unwrap()), None, 204).await),
            }
            assert!(!ask("docs:read").await, "{owner}");
        }
    }

    async fn check_names_one_principal_and_requires_validate_permission(server: Server) {
        let both = json!({ "value": "a", "principal": { "type": "user", "id": "a" }, "permission": "a", "resource": "/a" });
        let neither = json!({ "permission": "a", "resource": "/a" });
        for body in [both, neither] {
            assert_eq!(server.manage("POST", "/v1/access/check", Some(body), 422).await["errors"][0]["field"], "value");
        }
        for principal in [json!({ "type": "absent", "id": "a" }), json!({ "type": "user" }), json!({ "type": "user", "id": "a", "x": 1 })] {
            let body = json!({ "principal": principal, "permission": "a", "resource": "/a" });
            server.manage("POST", "/v1/access/check", Some(body), 422).await;
        }
        let service = server.client_key(&["keyswap:validate"]).await;
        let other = server.client_key(&["keyswap:keys"]).await;
        let body = json!({ "value": "a", "permission": "a", "resource": "/a" });
        problem(call(&server, &other.value, "POST", "/v1/access/check", Some(body.clone()), &[]).await, 403, "forbidden").await;
        let answer = call(&server, &service.value, "POST", "/v1/access/check", Some(body), &[]).await;
        assert_eq!(body_of(answer, StatusCode::OK).await, json!({ "allowed": false }));
    }

    /// Rejected values that a service submits do not count against the service's own brute-force
    /// limit.
    async fn checks_of_invalid_keys_do_not_count_as_guesses(server: Server, "brute_force.per_source=3", "brute_force.refill=1h") {
        for _ in 0..10 {
            assert!(!asked(&server, json!({ "value": unknown(), "permission": "a", "resource": "/a" })).await);
        }
    }
}
