//! Introspection responses as JWTs (RFC 9701).

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{MANAGEMENT, PATH, inactive, introspected};
use crate::support::{
    Server, body_of, both, header_of,
    wire::{form, oauth_error},
};

const JWT: &str = "application/token-introspection+jwt";

async fn signed(server: &Server, bearer: &str, token: &str) -> Response {
    form(server.post(PATH).bearer_auth(bearer), &[("token", token)]).header("accept", JWT).send().await.unwrap()
}

both! {
    // Requirements: 9701-01.
    async fn signed_response_is_a_jwt_for_the_caller(server: Server) {
        let service = server.client_key(&["keyswap:validate"]).await;
        let key = server.client_key(&["a"]).await;
        let issued = server.fetch_token(&key.value).await;
        for (shown, expected) in [(issued.as_str(), introspected(&server, &issued).await), ("nonsense", inactive())] {
            let answer = signed(&server, &service.value, shown).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["content-type"], JWT);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let jwt = answer.text().await.unwrap();
            assert_eq!(header_of(&jwt)["typ"], "token-introspection+jwt");
            let now = server.services.store.now().await.unwrap().seconds();
            let mut claims = verify_signed(&server, &jwt, &service.client).await;
            let iat = claims["iat"].take().as_i64().unwrap();
            assert!((now - 5..=now).contains(&iat));
            assert_eq!(claims, json!({
                "iss": "http://keyswap.test", "aud": service.client, "iat": null, "token_introspection": expected,
            }), "no sub and no exp of its own");
        }
    }

    // Requirements: 9701-01.
    async fn signed_response_is_not_accepted_as_a_token(server: Server) {
        let key = server.client_key(&["keyswap:events", "keyswap:validate"]).await;
        let bearer = body_of(server.exchange_for(&key.value, json!({ "audience": MANAGEMENT })).await, StatusCode::OK).await;
        let bearer = bearer["access_token"].as_str().unwrap();
        let jwt = signed(&server, bearer, &server.generic_key(&[]).await.value).await.text().await.unwrap();
        assert_eq!(server.get("/v1/events").bearer_auth(bearer).send().await.unwrap().status(), 200);
        assert_eq!(server.get("/v1/events").bearer_auth(&jwt).send().await.unwrap().status(), 401);
        let validated = server.manage("POST", "/v1/api-keys/validate", Some(json!({ "value": jwt })), 200).await;
        assert!(validated["api_key"].is_null());
        assert_eq!(introspected(&server, &jwt).await, inactive());
        oauth_error(signed(&server, &jwt, &jwt).await, 401, "invalid_token").await;
        assert_eq!(server.exchange(&jwt).await.status(), 401);
    }

    // Requirements: 9701-01.
    async fn stale_key_snapshot_signs_no_response(server: Server, "signing_keys.replica_staleness=1s") {
        let key = server.generic_key(&[]).await;
        server.database.sql("ALTER TABLE signing_keys RENAME TO hidden");
        let mut last = 200;
        for _ in 0..150 {
            let answer = signed(&server, &server.admin, &key.value).await;
            last = answer.status().as_u16();
            if last == 503 {
                assert!(answer.headers().contains_key("retry-after"));
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(last, 503);
        assert_eq!(introspected(&server, &key.value).await["active"], true, "what is not signed goes on");
        server.database.sql("ALTER TABLE hidden RENAME TO signing_keys");
    }
}

/// Verifies a response as a resource server does. It has no `exp`, so none is required.
async fn verify_signed(server: &Server, jwt: &str, audience: &str) -> Value {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
    let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    let jwks: JwkSet = serde_json::from_value(jwks).unwrap();
    let header = decode_header(jwt).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[server.services.issuer()]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    let key = DecodingKey::from_jwk(jwks.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    decode::<Value>(jwt, &key, &validation).unwrap().claims
}
