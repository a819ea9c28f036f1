//! A caller cannot grant permissions that it does not hold, and a refusal lists every error.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::calls::{call, plain_key};
use crate::support::{body_of, both, wire::problem};

/// The errors of a refusal as `field: message`.
fn messages(refusal: &Value) -> Vec<String> {
    refusal["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| format!("{}: {}", fault["field"], fault["message"]))
        .collect()
}

both! {
    async fn key_manager_grants_only_permissions_it_has(server: Server) {
        let manager = server.client_key(&["keyswap:keys", "projects:read"]).await;
        server.permissions(&["projects:write"]).await;
        let target = server.client_key(&["projects:read"]).await;
        let (key, client) = (format!("/v1/api-keys/{}", target.id), format!("/v1/service-clients/{}", target.client));
        let may = json!({ "name": "a", "owner": { "type": "none" }, "permissions": ["projects:read", "keyswap:keys"] });
        assert_eq!(call(&server, &manager.value, "POST", "/v1/api-keys", Some(may), &[]).await.status(), 201);
        let before = server.events().await;
        for more in ["projects:write", "keyswap:admin", "keyswap:events"] {
            for (method, path, body) in [
                ("POST", "/v1/api-keys", json!({ "name": "a", "owner": { "type": "none" }, "permissions": [more] })),
                ("POST", "/v1/service-clients", json!({ "name": "a", "permissions": [more] })),
                ("PATCH", &client, json!({ "permissions": ["projects:read", more] })),
                ("PATCH", &key, json!({ "permissions": ["projects:read", more] })),
            ] {
                let refused = problem(call(&server, &manager.value, method, path, Some(body), &[]).await, 422, "invalid").await;
                assert!(messages(&refused).iter().any(|message| message.contains("you cannot grant")), "{refused}");
            }
        }
        assert_eq!(server.events().await, before);
        // Existing permissions may be kept and removed.
        let narrowed = call(&server, &manager.value, "PATCH", &client, Some(json!({ "permissions": [] })), &[]).await;
        assert_eq!(narrowed.status(), 200);
    }

    async fn key_with_more_permissions_cannot_be_rotated(server: Server) {
        let manager = server.client_key(&["keyswap:keys", "projects:read"]).await;
        let administrator = server.manage("GET", "/v1/api-keys", None, 200).await["data"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(administrator["permissions"], json!(["keyswap:admin"]));
        let before = server.events().await;
        for grace in ["0s", "1h"] {
            let path = format!("/v1/api-keys/{}/rotate", administrator["id"].as_str().unwrap());
            let refused = call(&server, &manager.value, "POST", &path, Some(json!({ "grace": grace })), &[]).await;
            let refused = problem(refused, 422, "invalid").await;
            assert!(messages(&refused)[0].contains("keyswap:admin"), "{refused}");
        }
        assert_eq!(server.events().await, before);
        // A caller may rotate a key with no more permissions than its own, including its own key.
        let lesser = server.client_key(&["projects:read"]).await;
        for id in [&lesser.id, &manager.id] {
            let rotated = call(&server, &manager.value, "POST", &format!("/v1/api-keys/{id}/rotate"), None, &[]).await;
            assert_eq!(rotated.status(), 200);
        }
    }

    async fn key_with_more_permissions_cannot_be_resumed_or_extended(server: Server) {
        let manager = server.client_key(&["keyswap:keys", "projects:read"]).await;
        let mightier = server.client_key(&["keyswap:events"]).await;
        let path = format!("/v1/api-keys/{}", mightier.id);
        let end = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
        let limits = json!({ "expires_at": end, "max_token_ttl": "1m", "audiences": ["http://keyswap.test/v1"] });
        server.manage("PATCH", &path, Some(limits), 200).await;
        // A key manager may suspend a key with more permissions, but not resume it.
        let stopped = call(&server, &manager.value, "POST", &format!("{path}/suspend"), None, &[]).await;
        assert_eq!(stopped.status(), 200);
        let resumed = call(&server, &manager.value, "POST", &format!("{path}/resume"), None, &[]).await;
        problem(resumed, 422, "invalid").await;
        for limit in ["expires_at", "max_token_ttl", "audiences"] {
            let lifted = call(&server, &manager.value, "PATCH", &path, Some(json!({ limit: null })), &[]).await;
            problem(lifted, 422, "invalid").await;
        }
        let narrowed = call(&server, &manager.value, "PATCH", &path, Some(json!({ "max_token_ttl": "30s" })), &[]).await;
        problem(narrowed, 422, "invalid").await;
    }

    async fn token_with_reduced_scope_grants_only_its_scope(server: Server) {
        let parent = server.client_key(&["keyswap:keys", "keyswap:events", "projects:read"]).await;
        let asked = json!({ "audience": "http://keyswap.test/v1", "scope": "keyswap:keys" });
        let token = body_of(server.exchange_for(&parent.value, asked).await, StatusCode::OK).await;
        let token = token["access_token"].as_str().unwrap();
        let create = async |permission: &str| {
            let body = json!({ "name": "a", "owner": { "type": "none" }, "permissions": [permission] });
            call(&server, token, "POST", "/v1/api-keys", Some(body), &[]).await
        };
        problem(create("keyswap:events").await, 422, "invalid").await;
        assert_eq!(create("projects:read").await.status(), 201);
        let own = format!("/v1/api-keys/{}/rotate", parent.id);
        problem(call(&server, token, "POST", &own, None, &[]).await, 422, "invalid").await;
    }

    async fn metrics_on_the_public_listener_require_a_permission(server: Server) {
        let outsider = server.client_key(&["keyswap:keys"]).await;
        let watcher = server.client_key(&["keyswap:events"]).await;
        assert_eq!(server.get("/metrics").send().await.unwrap().status(), 401);
        assert_eq!(call(&server, &outsider.value, "GET", "/metrics", None, &[]).await.status(), 403);
        assert_eq!(call(&server, &watcher.value, "GET", "/metrics", None, &[]).await.status(), 200);
    }

    async fn refusal_lists_all_faults(server: Server) {
        let manager = server.client_key(&["keyswap:keys"]).await;
        server.manage("PUT", "/v1/permissions/for-users", Some(json!({ "assignable_to": ["user"] })), 201).await;
        server.permissions(&["unheld"]).await;
        let body = json!({
            "name": "a", "owner": { "type": "service_client", "id": manager.client },
            "permissions": ["no-such", "for-users", "unheld"], "audiences": ["https://no-such.test/"],
            "expires_at": "2001-01-01T00:00:00Z", "max_token_ttl": "0s",
        });
        let refused = problem(call(&server, &manager.value, "POST", "/v1/api-keys", Some(body), &[]).await, 422, "invalid").await;
        let found = messages(&refused);
        for part in [
            "no-such is not in the catalog", "for-users cannot be assigned", "you cannot grant unheld", "there is no audience",
            "is in the past", "must be at least one second", "no-such is not a permission of the service client",
        ] {
            assert!(found.iter().any(|message| message.contains(part)), "{part}: {found:?}");
        }
    }

    async fn key_permissions_are_limited_by_its_service_client(server: Server) {
        let key = server.client_key(&["a"]).await;
        server.permissions(&["b"]).await;
        let body = json!({ "name": "a", "owner": { "type": "service_client", "id": key.client }, "permissions": ["a", "b"] });
        let refused = server.manage("POST", "/v1/api-keys", Some(body), 422).await;
        assert_eq!(messages(&refused).len(), 1, "{refused}");
        let unknown = json!({ "name": "a", "owner": { "type": "service_client", "id": "svc_00000000000000000000000000" } });
        assert_eq!(server.manage("POST", "/v1/api-keys", Some(unknown), 422).await["errors"][0]["field"], "owner");
        let empty = json!({ "name": "a", "owner": { "type": "none" }, "audiences": [] });
        assert_eq!(server.manage("POST", "/v1/api-keys", Some(empty), 422).await["errors"][0]["field"], "audiences");
    }

    async fn missing_permission_is_403(server: Server) {
        let manager = server.client_key(&["keyswap:keys", "projects:read"]).await;
        let product = server.client_key(&["projects:read"]).await;
        let elsewhere = server.client_key(&["keyswap:keys"]).await;
        server.audience("https://a.test/", None).await;
        server.manage("PATCH", &format!("/v1/api-keys/{}", elsewhere.id), Some(json!({ "audiences": ["https://a.test/"] })), 200).await;
        for (key, method, path, body) in [
            (&product, "GET", "/v1/permissions", None), (&product, "GET", "/v1/roles", None), (&manager, "GET", "/v1/audiences", None), (&manager, "GET", "/v1/events", None),
            (&manager, "GET", "/v1/signing-keys", None), (&manager, "POST", "/v1/signing-keys/rotate", None),
            (&manager, "PUT", "/v1/roles/a", Some(json!({ "permissions": [] }))),
            (&manager, "PUT", "/v1/permissions/a", Some(json!({ "assignable_to": [] }))),
            (&product, "GET", "/v1/api-keys", None), (&product, "POST", "/v1/api-keys", Some(plain_key("a"))),
            (&elsewhere, "GET", "/v1/api-keys", None),
        ] {
            let answer = call(&server, &key.value, method, path, body, &[]).await;
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("error=\"insufficient_scope\""), "{path}");
            problem(answer, 403, "forbidden").await;
        }
    }
}
