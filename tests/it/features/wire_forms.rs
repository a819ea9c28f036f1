//! Requests of clients without specific support for Keyswap.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Raw, body_of, both, verify,
    wire::{CLIENT_CREDENTIALS, client_id, form},
};

both! {
    // Features: A19.
    async fn key_is_accepted_as_a_bearer_credential(server: Server) {
        let key = server.client_key(&["keyswap:events", "projects:read"]).await;
        for header in [format!("Bearer {}", key.value), format!("bearer {}", key.value)] {
            let answer = server.post("/v1/exchange").header("authorization", &header).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", &header[..7]);
            let answer = server.get("/v1/events").header("authorization", &header).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let answer = server.post("/v1/exchange").header("authorization", &key.value).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }

    // Features: A25.
    async fn issuer_keys_and_discovery_use_the_configured_domain(server: Server, "server.public_url=https://login.runway.example/keys") {
        let issuer = "https://login.runway.example/keys";
        let key = server.generic_key(&["projects:read"]).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, issuer).await;
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(issuer)));
        for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
            let metadata = body_of(server.get(path).send().await.unwrap(), StatusCode::OK).await;
            assert_eq!(metadata["issuer"], issuer);
            for (name, value) in metadata.as_object().unwrap() {
                if name.ends_with("_endpoint") || name == "jwks_uri" {
                    assert!(value.as_str().unwrap().starts_with(&format!("{issuer}/")), "{name}: {value}");
                }
            }
        }
        let token = server.exchange_for(&server.admin, json!({ "audience": format!("{issuer}/v1") })).await;
        let token = body_of(token, StatusCode::OK).await;
        let answer = server.get("/v1/api-keys").bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the management audience follows too");
    }

    // Features: W27.
    async fn client_credentials_grant_returns_a_token(server: Server) {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let secret = [CLIENT_CREDENTIALS, ("scope", "projects:read")];
        for id in [key.client.clone(), key.id.clone(), client_id(&key.value)] {
            let request = form(server.post("/oauth/token").basic_auth(&id, Some(&key.value)), &secret);
            let body = body_of(request.send().await.unwrap(), StatusCode::OK).await;
            assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("projects:read")));
            let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
            assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(key.client), &json!(key.client)));
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
        }
    }

    // Features: P12.
    async fn plain_socket_client_can_exchange(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        let host = server.base.strip_prefix("http://").unwrap().to_owned();
        // A request of curl, and a minimal HTTP/1.0 request.
        for request in [
            format!("POST /v1/exchange HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n", key.value),
            format!("POST /v1/exchange HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\nAuthorization: Bearer {}\r\n\r\n", key.value),
        ] {
            let base = server.base.clone();
            let answer = tokio::task::spawn_blocking(move || {
                let mut raw = Raw::open(&base);
                raw.send(request.as_bytes());
                raw.read_one()
            }).await.unwrap();
            assert!(answer.contains(" 200 OK\r\n"), "{answer}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        }
        // An exchange needs no cookies and sets none.
        assert!(server.exchange(&key.value).await.headers().get("set-cookie").is_none());
    }
}
