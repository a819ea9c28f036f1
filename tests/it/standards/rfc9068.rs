//! RFC 9068: JWT access tokens.

use std::collections::BTreeSet;

use keyswap::crypto::random;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    body_of, both, header_of, verify,
    wire::{exchange_of, oauth_error},
};

both! {
    // Requirements: 9068-01.
    async fn header_has_typ_alg_and_kid(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let header = header_of(&server.fetch_token(&key.value).await);
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(header["alg"], "ES256");
        let published = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
        assert!(published["keys"].as_array().unwrap().iter().any(|jwk| jwk["kid"] == header["kid"]));
        assert_eq!(header.as_object().unwrap().len(), 3, "no jku, no jwk, no crit: {header}");
    }

    // Requirements: 9068-01.
    async fn rs256_is_supported(server: Server, "signing_keys.algorithm=RS256") {
        let key = server.client_key(&["projects:read"]).await;
        let token = server.fetch_token(&key.value).await;
        assert_eq!(header_of(&token)["alg"], "RS256");
        verify(&server, &token, "http://keyswap.test").await;
    }

    // Requirements: 9068-02.
    async fn claims_are_the_required_and_documented_ones(server: Server) {
        let client = server.client_key(&["projects:read"]).await;
        let generic = server.generic_key(&[]).await;
        for (key, scope) in [(&client, true), (&generic, false)] {
            let claims = verify(&server, &server.fetch_token(&key.value).await, "http://keyswap.test").await;
            let names: BTreeSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
            let mut expected: BTreeSet<_> = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "sub_type", "key_id", "status"].into();
            if scope {
                expected.insert("scope");
            }
            assert_eq!(names, expected);
            for name in ["iss", "aud", "sub", "client_id", "jti"] {
                assert!(claims[name].is_string());
            }
        }
    }

    // Requirements: 9068-03.
    async fn aud_is_the_resource_or_the_default(server: Server, "tokens.default_audience=https://api.test/") {
        let key = server.client_key(&["projects:read"]).await;
        server.audience("https://other.test/", None).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, "https://api.test/").await;
        assert_eq!(claims["aud"], "https://api.test/");
        let asked: Vec<_> = exchange_of(&key.value).into_iter().chain([("resource", "https://other.test/")]).collect();
        let body = body_of(server.token(&asked).await, StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "https://other.test/").await;
        assert_eq!(claims["aud"], "https://other.test/");
    }

    // Requirements: 9068-04.
    async fn scope_not_accepted_by_its_audience_is_invalid(server: Server) {
        let key = server.client_key(&["projects:read", "billing:read"]).await;
        server.audience("https://a.test/", Some(&["projects:read"])).await;
        server.audience("https://b.test/", Some(&["billing:read"])).await;
        let ask = async |extra: &[(&str, &str)]| {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain(extra.iter().copied()).collect();
            server.token(&pairs).await
        };
        let a = ("resource", "https://a.test/");
        oauth_error(ask(&[a, ("scope", "projects:read billing:read")]).await, 400, "invalid_scope").await;
        oauth_error(ask(&[a, ("scope", "billing:read")]).await, 400, "invalid_scope").await;
        // Both audiences together accept no permission. The exchange is refused instead of issuing
        // a token without scope (ambiguous authorization, section 5).
        oauth_error(ask(&[a, ("resource", "https://b.test/")]).await, 400, "invalid_scope").await;
        assert_eq!(body_of(ask(&[a]).await, StatusCode::OK).await["scope"], "projects:read");
        // A management permission is never issued for another audience.
        let admin: Vec<_> = exchange_of(&server.admin).into_iter().chain([("scope", "keyswap:admin")]).collect();
        oauth_error(server.token(&admin).await, 400, "invalid_scope").await;
    }

    // Requirements: 9068-05.
    async fn resources_have_distinct_identifiers(server: Server) {
        server.audience("https://a.test/", None).await;
        for taken in ["https://a.test/", "http://keyswap.test", "http://keyswap.test/v1"] {
            server.manage("POST", "/v1/audiences", Some(json!({ "identifier": taken })), 409).await;
        }
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": "https://a.test" })), 409).await;
    }

    // Requirements: 9068-06.
    async fn sub_is_the_client_regardless_of_the_request(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let claimed = ["sub", "iss", "roles", "groups", "entitlements", "sub_type", "key_id", "username"];
        let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain(claimed.map(|name| (name, "root"))).collect();
        let body = body_of(server.token(&pairs).await, StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
        assert_eq!(claims["sub"], key.client.as_str());
        assert!(!claims.to_string().contains("root"));
    }

    // Requirements: 9068-07.
    async fn both_metadata_documents_agree(server: Server) {
        let read = async |path: &str| body_of(server.get(path).send().await.unwrap(), StatusCode::OK).await;
        let oauth = read("/.well-known/oauth-authorization-server").await;
        assert_eq!(oauth, read("/.well-known/openid-configuration").await);
    }

    // Requirements: 9068-08.
    async fn jti_is_unique(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let replicas = [server.replica().await, server.replica().await, server];
        let mut tasks = Vec::new();
        for task in 0..6 {
            let (http, url, key) = (replicas[task % 3].http.clone(), replicas[task % 3].url("/v1/exchange"), key.value.clone());
            tasks.push(tokio::spawn(async move {
                let mut found = Vec::new();
                for _ in 0..60 {
                    let body = body_of(http.post(&url).bearer_auth(&key).send().await.unwrap(), StatusCode::OK).await;
                    found.push(body["access_token"].as_str().unwrap().to_owned());
                }
                found
            }));
        }
        let mut tokens = Vec::new();
        for task in tasks {
            tokens.extend(task.await.unwrap());
        }
        let mut seen: BTreeSet<String> = tokens.iter().map(|token| claim(token, "jti")).collect();
        assert_eq!(seen.len(), 360);
        assert!(seen.iter().all(|jti| jti.len() == 22), "128 bits in base64url");
        // The same generator, as often as the time of a test permits.
        for _ in 0..100_000 {
            assert!(seen.insert(random::generate_token_id(&replicas[0].services.entropy).unwrap()));
        }
    }
}

fn claim(token: &str, name: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&part).unwrap()[name].as_str().unwrap().to_owned()
}
