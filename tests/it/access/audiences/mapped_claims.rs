//! Token claims mapped from metadata.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{explained, path_of, token_for, token_profile};
use crate::support::{
    Key, Server, body_of, both, verify,
    wire::{exchange_of, form, oauth_error, problem},
};

const A: &str = "https://a.test/";

/// Creates a service client and a key of it, each with metadata.
async fn key_with(server: &Server, client: Value, key: Value) -> Key {
    let body = json!({ "name": "a client", "metadata": client });
    let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
    let owner = json!({ "type": "service_client", "id": client["id"] });
    server.key(json!({ "name": "a key", "owner": owner, "metadata": key })).await
}

both! {
    async fn mapped_claims_equal_the_metadata(server: Server) {
        let client = json!({ "plan": "gold", "limits": { "rate": 1.5, "burst": [1, 2, { "x": null }] } });
        let key = key_with(&server, client.clone(), json!({ "team": "ünïcode \"quoted\"", "on": true, "none": null })).await;
        token_profile(&server, A, json!({ "claims": {
            "plan": "service_client.metadata.plan", "rate": "service_client.metadata.limits.rate",
            "burst": "service_client.metadata.limits.burst", "team": "api_key.metadata.team", "on": "api_key.metadata.on",
            "https://a.test/none": "api_key.metadata.none", "gone": "api_key.metadata.gone", "deep": "api_key.metadata.team.deep",
            "user": "user.metadata.plan", "mail": "user.profile.email", "org": "organization.metadata.plan",
        } })).await;
        let (_, claims) = token_for(&server, &key.value, A).await;
        assert_eq!(claims["plan"], "gold");
        assert_eq!(claims["rate"], 1.5);
        assert_eq!(claims["burst"], client["limits"]["burst"]);
        assert_eq!(claims["team"], "ünïcode \"quoted\"");
        assert_eq!(claims["on"], true);
        assert_eq!(claims.get("https://a.test/none"), Some(&Value::Null));
        for absent in ["gone", "deep", "user", "mail", "org"] {
            assert!(claims.get(absent).is_none(), "{absent}: {claims}");
        }
        // Claims follow the metadata at the next exchange. Sources that do not exist
        // for a key yield no claim.
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "metadata": { "gone": 1, "team": null } })), 200).await;
        let (_, claims) = token_for(&server, &key.value, A).await;
        assert_eq!((claims.get("team"), &claims["gone"], &claims["plan"]), (None, &json!(1), &json!("gold")));
        let generic = server.generic_key(&[]).await;
        let (_, claims) = token_for(&server, &generic.value, A).await;
        assert!(claims.get("plan").is_none());
        // The default audience has no mapped claims.
        let (_, claims) = token_for(&server, &key.value, "http://keyswap.test").await;
        assert!(claims.get("plan").is_none());
    }

    async fn introspection_returns_the_mapped_claims_of_the_token(server: Server) {
        let key = key_with(&server, json!({ "plan": "gold" }), json!({ "team": { "id": 7, "name": null } })).await;
        let claims = json!({ "plan": "service_client.metadata.plan", "team": "api_key.metadata.team", "username": "api_key.metadata.team.id" });
        token_profile(&server, A, json!({ "claims": claims })).await;
        let issued = body_of(server.exchange_for(&key.value, json!({ "audience": A })).await, StatusCode::OK).await;
        let token = issued["access_token"].as_str().unwrap();
        let claims = verify(&server, token, A).await;
        // What the token says, also after the metadata has changed.
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "metadata": { "plan": "silver" } })), 200).await;
        let introspect = async |token: &str| {
            let request = form(server.post("/oauth/introspect").bearer_auth(&server.admin), &[("token", token)]);
            body_of(request.send().await.unwrap(), StatusCode::OK).await
        };
        let plain = introspect(token).await;
        assert_eq!(plain["active"], true);
        for name in ["plan", "team", "username", "iss", "sub", "aud", "exp", "iat", "jti", "client_id", "key_id", "sub_type"] {
            assert_eq!(plain[name], claims[name], "{name}: {plain}");
        }
        assert!(plain.get("status").is_none(), "{plain}");
        let request = form(server.post("/oauth/introspect").bearer_auth(&server.admin), &[("token", token)]);
        let signed = request.header("accept", "application/token-introspection+jwt").send().await.unwrap().text().await.unwrap();
        let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["token_introspection"], plain);
        // A key has no token yet, and nothing is added to an inactive response.
        assert!(introspect(&key.value).await.get("plan").is_none());
        server.step(&key, "revoke").await;
        assert_eq!(introspect(token).await, json!({ "active": false }));
    }

    async fn metadata_cannot_set_reserved_claims(server: Server) {
        let all = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "scp", "sub_type", "key_id", "org_id",
            "authorization_details", "status", "active", "token_type", "cnf", "act", "may_act", "azp", "auth_time", "nonce", "amr", "acr", "typ", "roles", "groups",
            "entitlements"];
        for name in all {
            let refusal = json!({ "identifier": A, "claims": { name: "api_key.metadata.x", "fine": "api_key.metadata.x" } });
            let refusal = server.manage("POST", "/v1/audiences", Some(refusal), 422).await;
            assert_eq!(refusal["errors"].as_array().unwrap().len(), 1);
            assert_eq!(refusal["errors"][0]["field"], format!("claims.{name}"));
        }
        for (name, source) in [
            ("a b", "api_key.metadata.x"), ("a\"", "api_key.metadata.x"), ("", "api_key.metadata.x"), ("é", "api_key.metadata.x"),
            ("a", "api_key.metadata"), ("a", "api_key.metadata."), ("a", "api_key.name"), ("a", ""), ("a", "api_key.metadata.x..y"),
        ] {
            let body = json!({ "identifier": A, "claims": { name: source } });
            server.manage("POST", "/v1/audiences", Some(body), 422).await;
        }
        let many: serde_json::Map<_, _> = (0..17).map(|i| (format!("c{i}"), json!("api_key.metadata.x"))).collect();
        server.manage("POST", "/v1/audiences", Some(json!({ "identifier": A, "claims": many })), 422).await;
        // A secret pasted into another field is neither stored nor echoed.
        let pasted = json!({ "identifier": A, "claims": { &server.admin: format!("api_key.metadata.{}", server.admin) } });
        let refusal = server.manage("POST", "/v1/audiences", Some(pasted), 422).await;
        assert!(!refusal.to_string().contains(server.admin.rsplit('_').next().unwrap()));
    }

    async fn too_long_claims_are_refused_with_a_reason(server: Server) {
        let claims = json!({ "a": "api_key.metadata.a", "b": "service_client.metadata.b" });
        let audience = token_profile(&server, A, json!({ "claims": claims })).await;
        // `{"a":"…","b":"…"}` has 15 bytes besides the two values.
        for (a, b, fits) in [(2000, 2096 - 15, true), (2000, 2097 - 15, false), (4097, 1, false), (0, 0, true)] {
            let key = key_with(&server, json!({ "b": "y".repeat(b) }), json!({ "a": "x".repeat(a) })).await;
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("audience", A)]).collect();
            if fits {
                let (_, claims) = token_for(&server, &key.value, A).await;
                assert_eq!(claims["a"].as_str().unwrap().len() + claims["b"].as_str().unwrap().len(), a + b, "all of it");
                continue;
            }
            let refusal = oauth_error(server.token(&pairs).await, 400, "invalid_target").await;
            assert!(refusal["error_description"].as_str().unwrap().contains("4096"), "{refusal}");
            problem(server.exchange_for(&key.value, json!({ "audience": A })).await, 400, "invalid_target").await;
            assert_eq!(explained(&server, &key.value, &[A]).await["reason"], "claims");
            // The key still works for other audiences.
            body_of(server.exchange(&key.value).await, StatusCode::OK).await;
            let shorter = json!({ "metadata": { "a": "x" } });
            server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(shorter), 200).await;
            token_for(&server, &key.value, A).await;
        }
        let key = key_with(&server, json!({}), json!({ "a": "x".repeat(5000) })).await;
        oauth_error(server.token(&[exchange_of(&key.value).as_slice(), &[("audience", A)]].concat()).await, 400, "invalid_target").await;
        server.manage("PATCH", &path_of(&audience), Some(json!({ "claims": null })), 200).await;
        token_for(&server, &key.value, A).await;
    }
}
