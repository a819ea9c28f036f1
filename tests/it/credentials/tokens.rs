//! Tokens as credentials of `/v1`, and the responses of `explain`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::calls::call;
use crate::support::{Key, Server, body_of, both, wire::problem};

const MANAGEMENT: &str = "http://keyswap.test/v1";

async fn token(server: &Server, key: &Key, asked: Value) -> String {
    let body = body_of(server.exchange_for(&key.value, asked).await, StatusCode::OK).await;
    body["access_token"].as_str().unwrap().to_owned()
}

both! {
    async fn token_for_another_audience_is_refused_at_v1(server: Server) {
        let key = server.client_key(&["keyswap:keys", "projects:read"]).await;
        server.audience("https://a.test/", None).await;
        for asked in [json!({}), json!({ "audience": "https://a.test/" })] {
            let token = token(&server, &key, asked).await;
            let answer = call(&server, &token, "GET", "/v1/api-keys", None, &[]).await;
            problem(answer, 401, "invalid_token").await;
        }
        let both = json!({ "audience": [MANAGEMENT, "https://a.test/"] });
        let refused = server.exchange_for(&key.value, both).await;
        problem(refused, 400, "invalid_scope").await;
    }

    async fn management_token_works_until_its_key_is_revoked(server: Server) {
        let (revoked, suspended, deleted) = (
            server.client_key(&["keyswap:keys"]).await, server.client_key(&["keyswap:keys"]).await, server.client_key(&["keyswap:keys"]).await,
        );
        let get = async |token: &str| call(&server, token, "GET", "/v1/api-keys", None, &[]).await.status().as_u16();
        let asked = json!({ "audience": MANAGEMENT });
        let tokens = [
            token(&server, &revoked, asked.clone()).await, token(&server, &suspended, asked.clone()).await, token(&server, &deleted, asked.clone()).await,
        ];
        for token in &tokens {
            assert_eq!(get(token).await, 200);
        }
        server.step(&revoked, "revoke").await;
        server.step(&suspended, "suspend").await;
        server.manage("DELETE", &format!("/v1/service-clients/{}", deleted.client), None, 204).await;
        for token in &tokens {
            assert_eq!(get(token).await, 401);
        }
        server.step(&suspended, "resume").await;
        assert_eq!(get(&tokens[1]).await, 200);
        server.advance(601);
        assert_eq!(get(&tokens[1]).await, 401, "by the database's clock");
    }

    async fn token_is_limited_by_its_scope_and_current_key_permissions(server: Server) {
        let key = server.client_key(&["keyswap:keys", "keyswap:events"]).await;
        let narrow = token(&server, &key, json!({ "audience": MANAGEMENT, "scope": "keyswap:events" })).await;
        let whole = token(&server, &key, json!({ "audience": MANAGEMENT })).await;
        let get = async |token: &str, path: &str| call(&server, token, "GET", path, None, &[]).await.status().as_u16();
        assert_eq!((get(&narrow, "/v1/events").await, get(&narrow, "/v1/api-keys").await), (200, 403));
        assert_eq!((get(&whole, "/v1/events").await, get(&whole, "/v1/api-keys").await), (200, 200));
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["keyswap:events"] })), 200).await;
        assert_eq!((get(&whole, "/v1/events").await, get(&whole, "/v1/api-keys").await), (200, 403), "taken away at once");
    }

    async fn events_of_a_token_name_its_key(server: Server) {
        let key = server.client_key(&["keyswap:keys"]).await;
        let token = token(&server, &key, json!({ "audience": MANAGEMENT })).await;
        let made = call(&server, &token, "POST", "/v1/service-clients", Some(json!({ "name": "a" })), &[]).await;
        assert_eq!(made.status(), 201);
        let request = made.headers()["x-request-id"].to_str().unwrap().to_owned();
        let event = server.events().await.pop().unwrap();
        assert_eq!(event["actor"], json!({ "type": "api_key", "id": key.id }));
        assert_eq!((&event["request_id"], &event["address"]), (&json!(request), &json!("127.0.0.1")));
    }

    async fn explain_names_the_rule_that_removed_each_scope(server: Server) {
        let key = server.client_key(&["a", "b", "c"]).await;
        server.permissions(&["d"]).await;
        server.audience("https://a.test/", Some(&["a", "b", "d"])).await;
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["a", "c"] })), 200).await;
        let explain = async |asked: Value| {
            body_of(server.post("/v1/exchange/explain").bearer_auth(&key.value).json(&asked).send().await.unwrap(), StatusCode::OK).await
        };
        let before = server.events().await.len();
        let found = explain(json!({ "audience": "https://a.test/", "scope": "a b c d" })).await;
        assert_eq!(found, json!({
            "granted": false, "audience": ["https://a.test/"], "scope": ["a"], "expires_in": null, "error": "invalid_scope",
            "reason": null, "similar_audiences": [], "record_bound": false, "removed": [
                { "permission": "b", "by": "owner" }, { "permission": "c", "by": "audience" }, { "permission": "d", "by": "key" },
            ],
        }));
        let found = explain(json!({ "audience": "https://a.test/" })).await;
        assert_eq!((&found["granted"], &found["scope"], &found["expires_in"]), (&json!(true), &json!(["a"]), &json!(600)));
        assert_eq!(explain(json!({ "audience": "https://no-such.test/" })).await["error"], "invalid_target");
        assert!(found.get("access_token").is_none());
        let bad = server.post("/v1/exchange/explain").bearer_auth(crate::support::wire::unknown()).send().await.unwrap();
        problem(bad, 401, "invalid_token").await;
        assert_eq!(server.events().await.len(), before);
    }
}
