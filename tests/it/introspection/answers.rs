//! Responses for active tokens and keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{accepted_at_v1, at_every_endpoint, inactive, introspected, is_active, send_request, token, tokens};
use crate::{
    portal::key_management::{people, personal},
    support::both,
};

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

both! {
    // Requirements: 7662-03.
    async fn active_token_is_described_completely(server: Server) {
        people(&server).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        let issued = server.fetch_token(&key.value).await;
        let said = claims(&issued);
        let answer = introspected(&server, &issued).await;
        assert_eq!(answer, json!({
            "active": true, "token_type": "Bearer", "scope": "projects:read", "client_id": key.id, "sub": "self", "sub_type": "user",
            "aud": "http://keyswap.test", "iss": "http://keyswap.test", "exp": said["exp"], "iat": said["iat"], "jti": said["jti"],
            "key_id": key.id, "org_id": "acme",
        }));
        // The response omits `status`: it is itself the status, so the caller needs no status list.
        for (name, value) in said.as_object().unwrap().iter().filter(|(name, _)| *name != "status") {
            assert_eq!(&answer[name], value, "{name}");
        }
    }

    // Requirements: 7662-03.
    async fn active_key_is_described_completely(server: Server) {
        let key = server.client_key(&["a", "b"]).await;
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
        let made: keyswap::domain::common::time::Timestamp = shown["created_at"].as_str().unwrap().parse().unwrap();
        let whole = json!({
            "active": true, "token_type": "api_key", "scope": "a b", "client_id": key.client, "sub": key.client,
            "sub_type": "service_client", "iat": made.seconds(), "key_id": key.id,
        });
        assert_eq!(introspected(&server, &key.value).await, whole);
        // `exp` is the earlier of the expiry of the key and the expiry of the replaced credential.
        let end = server.services.store.now().await.unwrap().plus("2h".parse().unwrap());
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "expires_at": end })), 200).await;
        assert_eq!(introspected(&server, &key.value).await["exp"], end.seconds());
        server.manage("POST", &format!("/v1/api-keys/{}/rotate", key.id), Some(json!({ "grace": "1h" })), 200).await;
        assert!(introspected(&server, &key.value).await["exp"].as_i64().unwrap() < end.seconds());
        let bare = introspected(&server, &server.generic_key(&[]).await.value).await;
        assert!(bare.get("scope").is_none() && bare["sub_type"] == "api_key");
    }

    // Requirements: 7662-03.
    async fn scope_is_the_current_effective_scope(server: Server) {
        let key = server.client_key(&["a", "b", "c"]).await;
        let audience = server.audience("https://one.test/", None).await;
        let shape = json!({ "scope_claim": "scp", "aud_claim": "array" });
        let audience = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        server.manage("PATCH", &audience, Some(shape), 200).await;
        let (whole, narrow) = (
            token(&server, &key.value, json!({ "audience": "https://one.test/" })).await, token(&server, &key.value, json!({ "scope": "a b" })).await,
        );
        let scope = async |shown: &str| introspected(&server, shown).await["scope"].clone();
        assert_eq!((scope(&whole).await, scope(&narrow).await, scope(&key.value).await), (json!("a b c"), json!("a b"), json!("a b c")));
        assert_eq!(introspected(&server, &whole).await["aud"], json!(["https://one.test/"]));
        // The owner loses one permission, the key another, and the audience stops accepting a
        // third.
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["b", "c"] })), 200).await;
        assert_eq!((scope(&whole).await, scope(&narrow).await, scope(&key.value).await), (json!("b c"), json!("b"), json!("b c")));
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "permissions": ["a", "c"] })), 200).await;
        assert_eq!((scope(&whole).await, scope(&narrow).await, scope(&key.value).await), (json!("c"), Value::Null, json!("c")));
        assert!(is_active(&server, &narrow).await, "as a key without permissions is");
        server.manage("PATCH", &audience, Some(json!({ "permissions": ["a"] })), 200).await;
        assert_eq!((scope(&whole).await, scope(&key.value).await), (Value::Null, json!("c")));
    }

    // Requirements: 7662-03.
    async fn authorization_details_are_those_of_the_token_limited_to_current_records(server: Server) {
        let (key, product, _) = at_every_endpoint(&server).await;
        let said = claims(&product)["authorization_details"].clone();
        assert!(said.is_array());
        assert_eq!(introspected(&server, &product).await["authorization_details"], said);
        let records = server.manage("GET", "/v1/access-records", None, 200).await;
        let record = format!("/v1/access-records/{}", records["data"][0]["id"].as_str().unwrap());
        server.manage("DELETE", &record, None, 204).await;
        assert!(introspected(&server, &product).await.get("authorization_details").is_none());
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["keyswap:events"] })), 200).await;
        assert!(introspected(&server, &product).await.get("scope").is_none());
    }

    // Requirements: 7662-05.
    async fn responses_are_not_cacheable(server: Server) {
        let key = server.generic_key(&[]).await;
        for shown in [key.value.as_str(), "nonsense"] {
            let answer = send_request(&server, &server.admin, shown).await;
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert_eq!(answer.headers()["pragma"], "no-cache");
            assert_eq!(answer.headers()["content-type"], "application/json");
        }
    }

    async fn token_of_an_ended_credential_is_refused_everywhere(server: Server) {
        let (key, product, management) = at_every_endpoint(&server).await;
        // The rotation and the issuance fall into the same second: the index in the status list
        // identifies the credential that a token was issued for.
        let path = format!("/v1/api-keys/{}/rotate", key.id);
        let rotated = server.manage("POST", &path, Some(json!({ "grace": "0s" })), 200).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [false; 4]);
        assert_eq!(introspected(&server, &product).await, inactive());
        let (product, management) = tokens(&server, rotated["value"].as_str().unwrap()).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [true; 4], "what its new value gives is good");
        // The tokens of a previous credential are valid as long as the credential.
        server.advance(2);
        let again = server.manage("POST", &path, Some(json!({ "grace": "2m" })), 200).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [true; 4]);
        server.advance(121);
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [false; 4], "with the value they were made from");
        let (product, management) = tokens(&server, again["value"].as_str().unwrap()).await;
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [true; 4]);
        // Cancelling a rotation invalidates the tokens of the new credential, although they are
        // newer than the credential that remains.
        let taken_back = server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        let newer = tokens(&server, taken_back["value"].as_str().unwrap()).await;
        server.manage("POST", &format!("/v1/api-keys/{}/cancel-rotation", key.id), None, 200).await;
        assert_eq!(accepted_at_v1(&server, &newer.0, &newer.1).await, [false; 4]);
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [true; 4]);
    }
}
