//! The complete exchange: an API key is exchanged for a token that a service
//! verifies with the JWKS alone.

mod oauth2_crate;
mod token_size;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    body_of, both, header_of, verify,
    wire::{exchange_of, oauth_error, problem},
};

both! {
    async fn service_client_exchanges_its_key_for_a_token(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let answer = server.exchange(&key.value).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body = body_of(answer, StatusCode::OK).await;
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 600);
        assert_eq!(body["scope"], "projects:read projects:write");

        let token = body["access_token"].as_str().unwrap();
        let header = header_of(token);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
        let claims = verify(&server, token, "http://keyswap.test").await;
        assert_eq!(claims["iss"], "http://keyswap.test");
        assert_eq!(claims["sub"], key.client.as_str());
        assert_eq!(claims["sub_type"], "service_client");
        assert_eq!(claims["client_id"], key.client.as_str());
        assert_eq!(claims["key_id"], key.id.as_str());
        assert_eq!(claims["scope"], "projects:read projects:write");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
        assert!(claims.get("nbf").is_none(), "stock verifiers allow it no tolerance");
    }

    async fn generic_key_is_its_own_subject(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, "http://keyswap.test").await;
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(key.id), &json!(key.id)));
        assert_eq!(claims["sub_type"], "api_key");
    }

    async fn key_without_permissions_gets_a_token_without_scope(server: Server) {
        let key = server.generic_key(&[]).await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert!(body.get("scope").is_none());
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        assert!(claims.get("scope").is_none());
    }

    async fn revoked_key_is_refused_at_once_on_every_replica(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let replica = server.replica().await;
        replica.fetch_token(&key.value).await;
        server.step(&key, "revoke").await;
        assert_eq!(replica.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
    }

    async fn suspended_key_is_refused_until_resumed(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.step(&key, "suspend").await;
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        server.step(&key, "resume").await;
        server.fetch_token(&key.value).await;
    }

    async fn keys_of_a_deleted_service_client_are_refused(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.manage("DELETE", &format!("/v1/service-clients/{}", key.client), None, 204).await;
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
    }

    async fn permissions_removed_from_a_client_are_absent_at_the_next_exchange(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let path = format!("/v1/service-clients/{}", key.client);
        server.manage("PATCH", &path, Some(json!({ "permissions": ["projects:read"] })), 200).await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "projects:read");
    }

    async fn both_credentials_work_until_the_grace_period_ends(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let path = format!("/v1/api-keys/{}/rotate", key.id);
        let rotated = server.manage("POST", &path, Some(json!({ "grace": "5m" })), 200).await;
        let new = rotated["value"].as_str().unwrap().to_owned();
        assert_eq!(rotated["id"], key.id.as_str(), "the key keeps its id");
        server.fetch_token(&new).await;
        // Tokens of the old credential expire with it (invariant 5).
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert!(body["expires_in"].as_i64().unwrap() <= 300);
        server.advance(301);
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        server.fetch_token(&new).await;
    }

    async fn token_never_outlives_its_key(server: Server) {
        server.permissions(&["projects:read"]).await;
        let at = server.services.store.now().await.unwrap().plus("90s".parse().unwrap());
        let key = server
            .key(json!({ "name": "short", "owner": { "type": "none" }, "permissions": ["projects:read"], "expires_at": at }))
            .await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        let expires_in = body["expires_in"].as_i64().unwrap();
        assert!((80..=90).contains(&expires_in), "{expires_in}");
        // A requested lifetime is never cut.
        problem(server.exchange_for(&key.value, json!({ "expires_in": 91 })).await, 422, "invalid").await;
        server.advance(91);
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
    }

    async fn requested_lifetime_is_granted_or_refused(server: Server, "tokens.max_ttl=30m") {
        let key = server.generic_key(&[]).await;
        let short = server.audience("https://short.test/", None).await;
        server.manage("PATCH", &format!("/v1/audiences/{}", short["id"].as_str().unwrap()), Some(json!({ "token_ttl": "5m" })), 200).await;
        // Without a request, the default; with one, up to the longest, and never another lifetime.
        let check = async |longest: i64, audience: &str| {
            for asked in [1, 60, longest] {
                let body = json!({ "audience": audience, "expires_in": asked });
                let body = body_of(server.exchange_for(&key.value, body).await, StatusCode::OK).await;
                assert_eq!(body["expires_in"], asked);
                let seconds = asked.to_string();
                let pairs = [&exchange_of(&key.value)[..], &[("audience", audience), ("expires_in", &seconds)]].concat();
                assert_eq!(body_of(server.token(&pairs).await, StatusCode::OK).await["expires_in"], asked);
            }
            for asked in [longest + 1, 86_400] {
                let request = json!({ "audience": audience, "expires_in": asked });
                let body = problem(server.exchange_for(&key.value, request.clone()).await, 422, "invalid").await;
                assert_eq!(body["errors"][0]["field"], "expires_in");
                assert!(body["errors"][0]["message"].as_str().unwrap().contains(&longest.to_string()), "{body}");
                let explain = server.post("/v1/exchange/explain").bearer_auth(&key.value).json(&request).send().await.unwrap();
                let explained = body_of(explain, StatusCode::OK).await;
                assert_eq!((&explained["granted"], &explained["reason"]), (&json!(false), &json!("lifetime")), "{explained}");
                assert_eq!(explained["error"], "invalid");
                let seconds = asked.to_string();
                let pairs = [&exchange_of(&key.value)[..], &[("audience", audience), ("expires_in", &seconds)]].concat();
                let body = oauth_error(server.token(&pairs).await, 400, "invalid_request").await;
                assert!(body["error_description"].as_str().unwrap().contains(&longest.to_string()), "{body}");
            }
        };
        assert_eq!(body_of(server.exchange(&key.value).await, StatusCode::OK).await["expires_in"], 600);
        check(1800, "http://keyswap.test").await;
        check(300, "https://short.test/").await;
        for bad in ["0", "-1", "+60", "1.5", "1e3", "10m", "4294967296", "x"] {
            let pairs = [&exchange_of(&key.value)[..], &[("expires_in", bad)]].concat();
            oauth_error(server.token(&pairs).await, 400, "invalid_request").await;
        }
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "max_token_ttl": "2m" })), 200).await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["expires_in"], 120);
        check(120, "http://keyswap.test").await;
    }
}
