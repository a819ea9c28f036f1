//! API keys: creation, representation, updates, rotation and lifecycle.

use serde_json::{Value, json};

use crate::support::calls::{call, events_after, plain_key, read_pages, tagged_version};
use crate::support::{both, wire::problem};

both! {
    async fn key_value_is_returned_once(server: Server) {
        let made = server.manage("POST", "/v1/api-keys", Some(plain_key("a")), 201).await;
        let value = made["value"].as_str().unwrap();
        let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
        let rotated = server.manage("POST", &format!("{path}/rotate"), None, 200).await;
        assert_ne!(rotated["value"], made["value"]);
        let steps = [("GET", ""), ("POST", "/suspend"), ("POST", "/resume"), ("POST", "/revoke")];
        let mut shown: Vec<Value> = Vec::new();
        for (method, step) in steps {
            shown.push(server.manage(method, &format!("{path}{step}"), None, 200).await);
        }
        shown.push(server.manage("GET", "/v1/api-keys", None, 200).await);
        shown.extend(server.events().await);
        let secret = |value: &str| value.rsplit('_').next().unwrap()[..32].to_owned();
        for answer in &shown {
            assert!(answer.get("value").is_none());
            let text = answer.to_string();
            assert!(!text.contains(&secret(value)) && !text.contains(&secret(rotated["value"].as_str().unwrap())), "{text}");
        }
        let masked = shown[0]["masked"].as_str().unwrap();
        assert!(masked.ends_with("_…") && rotated["value"].as_str().unwrap().starts_with(masked.trim_end_matches('…')));
    }

    async fn created_key_equals_the_fetched_key(server: Server) {
        server.permissions(&["a"]).await;
        server.audience("https://a.test/", None).await;
        let body = json!({
            "name": "käse", "description": "Für die Nacht", "owner": { "type": "none" }, "permissions": ["a"], "audiences": ["https://a.test/"],
            "metadata": { "b": [1, { "c": null }] }, "max_token_ttl": "90s", "expires_at": "2090-01-01T00:00:00Z",
        });
        let answer = call(&server, &server.admin, "POST", "/v1/api-keys", Some(body.clone()), &[]).await;
        assert_eq!((answer.status().as_u16(), tagged_version(&answer)), (201, 1));
        let location = answer.headers()["location"].to_str().unwrap().strip_prefix("http://keyswap.test").unwrap().to_owned();
        let mut made: Value = answer.json().await.unwrap();
        made.as_object_mut().unwrap().remove("value").unwrap();
        assert_eq!(server.manage("GET", &location, None, 200).await, made);
        for name in ["name", "description", "permissions", "audiences", "metadata"] {
            assert_eq!(made[name], body[name]);
        }
        assert_eq!((&made["state"], &made["version"], &made["last_used_at"]), (&json!("active"), &json!(1), &json!(null)));
        assert_eq!(made["owner"], json!({ "type": "none", "id": null, "organization_id": null }));
        assert_eq!(made["created_by"]["type"], "api_key");
        assert_eq!(made["expires_at"], "2090-01-01T00:00:00.000Z");
    }

    async fn every_field_can_be_patched_and_null_removes_a_limit(server: Server) {
        server.audience("https://a.test/", None).await;
        let key = server.generic_key(&["a"]).await;
        server.permissions(&["b"]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let before = server.events().await.len();
        for (version, (name, value)) in (2_u64..).zip([
            ("name", json!("new")), ("description", json!("nightly export")), ("description", json!(null)), ("permissions", json!(["a", "b"])), ("audiences", json!(["https://a.test/"])), ("audiences", json!(null)),
            ("metadata", json!({ "x": 1 })), ("max_token_ttl", json!("1m")), ("max_token_ttl", json!(null)),
            ("expires_at", json!("2090-01-01T00:00:00.000Z")), ("expires_at", json!(null)), ("permissions", json!([])),
        ]) {
            let changed = server.manage("PATCH", &path, Some(json!({ name: value })), 200).await;
            assert_eq!((&changed[name], &changed["version"]), (&value, &json!(version)));
            let same = server.manage("PATCH", &path, Some(json!({ name: value })), 200).await;
            assert_eq!(same, changed, "what changes nothing is no version and no event");
        }
        assert_eq!(events_after(&server, before).await, ["api_key.updated"; 12]);
        for member in ["owner", "state", "version", "value", "credentials", "created_by", "id"] {
            server.manage("PATCH", &path, Some(json!({ member: null })), 422).await;
        }
    }

    async fn a_description_has_up_to_500_characters_and_is_named_in_the_event_of_its_change(server: Server) {
        let path = format!("/v1/api-keys/{}", server.generic_key(&[]).await.id);
        assert_eq!(server.manage("GET", &path, None, 200).await["description"], json!(null));
        let longest = "ä".repeat(500);
        let changed = server.manage("PATCH", &path, Some(json!({ "description": longest })), 200).await;
        assert_eq!(changed["description"], json!(longest));
        let events = server.events().await;
        let event = events.iter().find(|event| event["type"] == "api_key.updated").unwrap();
        assert_eq!(event["data"]["changed"], json!(["description"]));
        let made = server.generic_key(&[]).await;
        for refused in [longest + "x", String::new(), "two\nlines".to_owned(), " spaces".to_owned(), format!("see {}", made.value)] {
            let body = json!({ "name": "n", "description": refused });
            for (method, path) in [("PATCH", path.as_str()), ("POST", "/v1/api-keys")] {
                let refusal = server.manage(method, path, Some(body.clone()), 422).await;
                assert_eq!(refusal["errors"][0]["field"], "description", "{refusal}");
                assert!(refusal["errors"][0]["message"].as_str().unwrap().contains("500 characters"), "{refusal}");
                assert!(!refusal.to_string().contains(&made.value), "{refusal}");
            }
        }
    }

    async fn keys_are_listed_newest_first_and_by_owner(server: Server) {
        let mut made = Vec::new();
        for i in 0..5 {
            made.push(server.manage("POST", "/v1/api-keys", Some(plain_key(&format!("{i}"))), 201).await["id"].clone());
        }
        let owned = server.client_key(&[]).await;
        for limit in [1, 2, 100] {
            let all: Vec<_> = read_pages(&server, "/v1/api-keys", limit).await.into_iter().map(|key| key["id"].clone()).collect();
            assert_eq!(all.len(), 7, "with the administrator's");
            assert!(all.is_sorted_by(|a, b| a.as_str() > b.as_str()) && made.iter().all(|id| all.contains(id)));
        }
        let of = server.manage("GET", &format!("/v1/api-keys?service_client={}", owned.client), None, 200).await;
        assert_eq!((of["data"].as_array().unwrap().len(), &of["data"][0]["id"]), (1, &json!(owned.id)));
        for empty in ["limit=", "service_client=", "organization="] {
            // Ignoring an empty filter would return all keys.
            server.manage("GET", &format!("/v1/api-keys?{empty}"), None, 400).await;
        }
    }

    async fn rotation_has_a_grace_period_that_ends(server: Server) {
        let key = server.client_key(&["a"]).await;
        let path = format!("/v1/api-keys/{}/rotate", key.id);
        let before = server.events().await.len();
        let rotated = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        assert_eq!(rotated["credentials"].as_array().unwrap().len(), 2);
        assert!(rotated["credentials"][0]["expires_at"].is_null() && rotated["credentials"][1]["expires_at"].is_string());
        server.manage("POST", &path, Some(json!({ "grace": "1h" })), 409).await;
        server.manage("POST", &path, None, 409).await;
        server.advance(3601);
        let third = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        assert_eq!(third["credentials"].as_array().unwrap().len(), 2);
        // A grace period of zero ends all older credentials at once, even during a grace period. It
        // is intended for emergencies.
        let last = server.manage("POST", &path, Some(json!({ "grace": "0s" })), 200).await;
        assert_eq!(last["credentials"].as_array().unwrap().len(), 1);
        for (value, status) in [(&key.value, 401), (&text(&rotated), 401), (&text(&third), 401), (&text(&last), 200)] {
            assert_eq!(server.exchange(value).await.status().as_u16(), status);
        }
        for grace in ["91d", "-1s", "soon", "", "1"] {
            let refusal = server.manage("POST", &path, Some(json!({ "grace": grace })), 422).await;
            assert_eq!(refusal["errors"][0]["field"], "grace");
        }
        assert_eq!(events_after(&server, before).await, ["api_key.rotated"; 3]);
    }

    async fn suspend_resume_revoke_and_delete_are_idempotent(server: Server) {
        let key = server.client_key(&["a"]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let before = server.events().await.len();
        for (step, state) in [("suspend", "suspended"), ("suspend", "suspended"), ("resume", "active"), ("resume", "active"),
            ("revoke", "revoked"), ("revoke", "revoked")] {
            assert_eq!(server.manage("POST", &format!("{path}/{step}"), None, 200).await["state"], state);
        }
        for (method, rest, body) in [("POST", "/suspend", None), ("POST", "/resume", None), ("POST", "/rotate", None), ("PATCH", "", Some(json!({})))] {
            server.manage(method, &format!("{path}{rest}"), body, 409).await;
        }
        server.manage("DELETE", &path, None, 204).await;
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/revoke"), ("POST", "/rotate")] {
            server.manage(method, &format!("{path}{rest}"), None, 404).await;
        }
        assert_eq!(read_pages(&server, "/v1/api-keys", 100).await.len(), 1, "out of sight");
        assert_eq!(events_after(&server, before).await,
            ["api_key.suspended", "api_key.resumed", "api_key.revoked", "api_key.deleted"]);
    }

    async fn expired_key_has_state_expired_and_can_be_extended(server: Server) {
        let key = server.generic_key(&[]).await;
        let path = format!("/v1/api-keys/{}", key.id);
        let end = server.services.store.now().await.unwrap().plus("60s".parse().unwrap());
        server.manage("PATCH", &path, Some(json!({ "expires_at": end })), 200).await;
        server.advance(61);
        assert_eq!(server.manage("GET", &path, None, 200).await["state"], "expired");
        server.manage("PATCH", &path, Some(json!({ "expires_at": end })), 422).await;
        server.manage("PATCH", &path, Some(json!({ "expires_at": null })), 200).await;
        server.fetch_token(&key.value).await;
    }

    async fn maximum_lifetime_applies_to_every_key(server: Server, "api_keys.max_lifetime=30d") {
        let at = |days: i64| json!({ "name": "a", "owner": { "type": "none" },
            "expires_at": (chrono::Utc::now() + chrono::Duration::days(days)).to_rfc3339() });
        let made = server.manage("POST", "/v1/api-keys", Some(at(29)), 201).await;
        for body in [at(31), plain_key("a"), at(-1)] {
            let refused = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body).send().await.unwrap();
            assert_eq!(problem(refused, 422, "invalid").await["errors"][0]["field"], "expires_at");
        }
        let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
        server.manage("PATCH", &path, Some(json!({ "expires_at": null })), 422).await;
        server.manage("PATCH", &path, Some(json!({ "expires_at": at(31)["expires_at"] })), 422).await;
    }
}

fn text(key: &Value) -> String {
    key["value"].as_str().unwrap().to_owned()
}
