//! Permissions, service clients and audiences.

use serde_json::json;

use crate::support::calls::{call, events_after, read_pages, tagged_version};
use crate::support::{
    both,
    wire::{exchange_of, problem},
};

both! {
    async fn repeated_put_of_a_permission_changes_nothing(server: Server) {
        let before = server.events().await.len();
        let body = json!({ "assignable_to": ["service_client", "user"], "description": "read projects" });
        let made = server.manage("PUT", "/v1/permissions/projects:read", Some(body.clone()), 201).await;
        let again = server.manage("PUT", "/v1/permissions/projects:read", Some(body), 200).await;
        assert_eq!(made, again);
        assert_eq!((&made["version"], &made["built_in"]), (&json!(1), &json!(false)));
        let changed = json!({ "assignable_to": ["service_client"] });
        let changed = server.manage("PUT", "/v1/permissions/projects:read", Some(changed), 200).await;
        assert_eq!((&changed["version"], &changed["description"]), (&json!(2), &json!(null)), "a PUT is the whole thing");
        assert_eq!(server.manage("GET", "/v1/permissions/projects:read", None, 200).await, changed);
        server.manage("DELETE", "/v1/permissions/projects:read", None, 204).await;
        server.manage("DELETE", "/v1/permissions/projects:read", None, 404).await;
        server.manage("GET", "/v1/permissions/projects:read", None, 404).await;
        assert_eq!(events_after(&server, before).await, ["permission.created", "permission.updated", "permission.deleted"]);
    }

    async fn permission_in_use_cannot_be_deleted(server: Server) {
        let key = server.client_key(&["a_b"]).await;
        server.permissions(&["axb"]).await;
        server.audience("https://a.test/", Some(&["a_b"])).await;
        let refusal = server.manage("DELETE", "/v1/permissions/a_b", None, 409).await;
        for carrier in [key.id.as_str(), &key.client, "https://a.test/"] {
            assert!(refusal["detail"].as_str().unwrap().contains(carrier), "{refusal}");
        }
        server.manage("DELETE", "/v1/permissions/axb", None, 204).await;
        server.step(&key, "revoke").await;
        server.manage("DELETE", &format!("/v1/service-clients/{}", key.client), None, 204).await;
        server.manage("DELETE", "/v1/permissions/a_b", None, 409).await;
        let audience = server.manage("GET", "/v1/audiences", None, 200).await["data"][0]["id"].as_str().unwrap().to_owned();
        server.manage("DELETE", &format!("/v1/audiences/{audience}"), None, 204).await;
        server.manage("DELETE", "/v1/permissions/a_b", None, 204).await;
    }

    async fn built_in_permissions_cannot_be_changed(server: Server) {
        let before = server.events().await.len();
        for name in ["keyswap:admin", "keyswap:keys", "keyswap:signing-keys"] {
            let body = json!({ "assignable_to": ["user"] });
            server.manage("PUT", &format!("/v1/permissions/{name}"), Some(body), 409).await;
            server.manage("DELETE", &format!("/v1/permissions/{name}"), None, 409).await;
        }
        server.manage("PUT", "/v1/permissions/keyswap:new", Some(json!({ "assignable_to": [] })), 422).await;
        for name in ["a%20b", "%C3%A9", &"a".repeat(129)] {
            server.manage("PUT", &format!("/v1/permissions/{name}"), Some(json!({ "assignable_to": [] })), 422).await;
        }
        for audience in server.manage("GET", "/v1/audiences", None, 200).await["data"].as_array().unwrap() {
            let path = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
            server.manage("DELETE", &path, None, 409).await;
            if audience["built_in"] == "management" {
                server.manage("PATCH", &path, Some(json!({ "permissions": [] })), 409).await;
            }
        }
        assert_eq!(server.events().await.len(), before);
    }

    async fn service_client_is_created_changed_and_deleted(server: Server) {
        server.permissions(&["a", "b"]).await;
        let before = server.events().await.len();
        let body = json!({ "name": "first", "permissions": ["a"], "metadata": { "team": "x" } });
        let made = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
        let path = format!("/v1/service-clients/{}", made["id"].as_str().unwrap());
        assert_eq!(made["owner"], json!({ "type": "account", "id": null, "organization_id": null }));
        assert_eq!(server.manage("GET", &path, None, 200).await, made);
        for (body, version) in [
            (json!({}), 1), (json!({ "name": "first" }), 1), (json!({ "name": "second" }), 2),
            (json!({ "permissions": ["b", "a"] }), 3), (json!({ "metadata": {} }), 3), (json!({ "metadata": { "team": null } }), 4),
            (json!({ "permissions": [] }), 5),
        ] {
            let changed = server.manage("PATCH", &path, Some(body.clone()), 200).await;
            assert_eq!(changed["version"], version, "{body}");
        }
        server.manage("PATCH", &path, Some(json!({ "permissions": ["no-such"] })), 422).await;
        server.manage("DELETE", &path, None, 204).await;
        for (method, body) in [("GET", None), ("PATCH", Some(json!({}))), ("DELETE", None)] {
            server.manage(method, &path, body, 404).await;
        }
        let updated = "service_client.updated";
        assert_eq!(events_after(&server, before).await,
            ["service_client.created", updated, updated, updated, updated, "service_client.deleted"]);
    }

    async fn audience_is_created_changed_and_deleted(server: Server) {
        let key = server.client_key(&["a", "b"]).await;
        let before = server.events().await.len();
        let body = json!({ "identifier": "https://a.test/", "permissions": ["a"], "token_ttl": "2m" });
        let made = server.manage("POST", "/v1/audiences", Some(body), 201).await;
        let path = format!("/v1/audiences/{}", made["id"].as_str().unwrap());
        assert_eq!(server.manage("GET", &path, None, 200).await, made);
        let ask = async || {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("audience", "https://a.test/")]).collect();
            let body: serde_json::Value = server.token(&pairs).await.json().await.unwrap();
            (body["scope"].as_str().map(str::to_owned), body["expires_in"].as_i64(), body["error"].as_str().map(str::to_owned))
        };
        assert_eq!(ask().await, (Some("a".to_owned()), Some(120), None));
        server.manage("PATCH", &path, Some(json!({ "permissions": null, "token_ttl": null })), 200).await;
        assert_eq!(ask().await, (Some("a b".to_owned()), Some(600), None));
        let both = json!({ "permissions": ["no-such", "keyswap:keys"], "token_ttl": "2h" });
        let refusal = server.manage("PATCH", &path, Some(both), 422).await;
        assert_eq!(refusal["errors"].as_array().unwrap().len(), 3, "every fault at once: {refusal}");
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://a.test/" })), 409).await;
        server.manage("PATCH", &path, Some(json!({ "identifier": "https://b.test/" })), 422).await;
        server.manage("DELETE", &path, None, 204).await;
        assert_eq!(ask().await, (None, None, Some("invalid_target".to_owned())));
        assert_eq!(events_after(&server, before).await, ["audience.created", "audience.updated", "audience.deleted"]);
    }

    async fn lists_are_paged_newest_first(server: Server) {
        for i in 0..7 {
            server.audience(&format!("https://{i}.test/"), None).await;
            server.manage("POST", "/v1/service-clients", Some(json!({ "name": format!("{i}") })), 201).await;
        }
        for (path, count) in [("/v1/audiences", 9), ("/v1/service-clients", 8)] {
            for limit in [1, 3, 100] {
                let all = read_pages(&server, path, limit).await;
                assert_eq!(all.len(), count);
                let ids: Vec<_> = all.iter().map(|one| one["id"].as_str().unwrap()).collect();
                assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
            }
        }
        let names: Vec<_> = read_pages(&server, "/v1/permissions", 4).await.iter().map(|one| one["name"].to_string()).collect();
        assert!(names.is_sorted() && names.len() == 10, "a catalog is read by name: {names:?}");
    }

    async fn if_match_refuses_a_change_of_another_version(server: Server) {
        server.permissions(&["a"]).await;
        let client = server.manage("POST", "/v1/service-clients", Some(json!({ "name": "a" })), 201).await;
        let audience = server.audience("https://a.test/", None).await;
        let key = server.generic_key(&[]).await;
        for (path, body) in [
            (format!("/v1/service-clients/{}", client["id"].as_str().unwrap()), json!({ "name": "b" })),
            (format!("/v1/audiences/{}", audience["id"].as_str().unwrap()), json!({ "token_ttl": "1m" })),
            (format!("/v1/api-keys/{}", key.id), json!({ "name": "b" })),
        ] {
            let read = call(&server, &server.admin, "GET", &path, None, &[]).await;
            let tag = read.headers()["etag"].to_str().unwrap().to_owned();
            let patch = async |tag: &str| call(&server, &server.admin, "PATCH", &path, Some(body.clone()), &[("if-match", tag)]).await;
            problem(patch("\"7\"").await, 412, "precondition_failed").await;
            let changed = patch(&tag).await;
            assert_eq!((changed.status().as_u16(), tagged_version(&changed)), (200, 2));
            problem(patch(&tag).await, 412, "precondition_failed").await;
            assert_eq!(patch("*").await.status(), 200);
            // All other changes check `If-Match` in the same way.
            let stale = [("if-match", tag.as_str())];
            let mut changes = vec![("DELETE", path.clone())];
            if path.contains("api-keys") {
                changes.extend(["rotate", "suspend", "resume", "revoke"].map(|step| ("POST", format!("{path}/{step}"))));
            }
            for (method, path) in changes {
                problem(call(&server, &server.admin, method, &path, None, &stale).await, 412, "precondition_failed").await;
            }
        }
        let put = Some(json!({ "assignable_to": ["user"] }));
        for (method, body) in [("PUT", put), ("DELETE", None)] {
            let refused = call(&server, &server.admin, method, "/v1/permissions/a", body, &[("if-match", "\"7\"")]).await;
            problem(refused, 412, "precondition_failed").await;
        }
    }
}
