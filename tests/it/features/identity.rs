//! The exchange as a central identity service, and services that verify tokens locally.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::JwkSet};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{acme, ann, key_of, product};
use crate::support::{
    Server, body_of, both,
    service::{KeysAt, Service, Trusted},
    verify,
    wire::{IBM, form},
};

const AUDIENCE: &str = "http://keyswap.test";

both! {
    // Features: I1.
    async fn exchange_returns_a_signed_bearer_token(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        let body = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(verify(&server, body["access_token"].as_str().unwrap(), AUDIENCE).await["scope"], "projects:read");
        let wrong = crate::support::wire::wrong(&key.value);
        assert_eq!(server.exchange(&wrong).await.status(), 401);
    }

    // Features: I2.
    async fn service_verifies_a_thousand_calls_locally(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        let token = server.fetch_token(&key.value).await;
        let service = Service::trusting(&server, AUDIENCE).await;
        assert_eq!(service.call("GET", &token).await.status(), 200);
        assert_eq!(service.fetched(), 1);
        // Keyswap is stopped: the service verifies tokens without it.
        let _database = server.stop().await;
        for _ in 0..1000 {
            assert_eq!(service.call("GET", &token).await.status(), 200);
        }
        assert_eq!(service.fetched(), 1, "the keys, once");
    }

    // Features: I3.
    async fn service_discovers_keys_from_the_issuer(server: Server) {
        let metadata = body_of(server.get("/.well-known/oauth-authorization-server").send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(metadata["issuer"], server.services.issuer());
        let path = metadata["jwks_uri"].as_str().unwrap().strip_prefix(server.services.issuer()).unwrap();
        let trusted: Trusted = BTreeMap::from([(server.services.issuer().to_owned(), KeysAt::Url(server.url(path)))]);
        let service = Service::start(AUDIENCE, trusted).await;
        let key = server.generic_key(&["projects:read"]).await;
        assert_eq!(service.call("GET", &server.fetch_token(&key.value).await).await.status(), 200);
        // A token of another deployment that claims the same issuer is refused.
        let other = Server::on(std::sync::Arc::new(crate::support::Database::new(server.database.kind)), &[]).await;
        let stranger = other.generic_key(&["projects:read"]).await;
        assert_eq!(service.call("GET", &other.fetch_token(&stranger.value).await).await.status(), 401);
    }

    // Features: I4.
    async fn login_and_exchanged_tokens_share_one_verification_path(server: Server) {
        product(&server).await;
        let login = Login::new();
        let trusted: Trusted = BTreeMap::from([
            (login.issuer.to_owned(), KeysAt::Known(login.jwks())),
            (server.services.issuer().to_owned(), KeysAt::Url(server.url("/.well-known/jwks.json"))),
        ]);
        let service = Service::start(AUDIENCE, trusted).await;
        let key = key_of(&server, ann(), &["projects:read"]).await;
        let (by_browser, by_key) = (login.token("ann", "projects:read"), server.fetch_token(&key.value).await);
        for token in [&by_browser, &by_key] {
            let (status, identity) = service.ask("GET", token).await;
            assert_eq!((status, &identity["sub"]), (200, &json!("ann")), "the same user, whichever way they came");
            assert_eq!(service.ask("POST", token).await.0, 403);
        }
        // The exchanged token has every claim of the login token.
        let claims = |token: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
        };
        for name in claims(&by_browser).as_object().unwrap().keys() {
            assert!(claims(&by_key).get(name).is_some(), "{name}");
        }
    }

    // Features: I5.
    async fn each_service_authorizes_independently(server: Server) {
        for audience in ["https://a.test", "https://b.test"] {
            server.audience(audience, None).await;
        }
        server.audience("https://c.test", Some(&[])).await;
        let key = server.generic_key(&["projects:read"]).await;
        let (a, b) = (Service::trusting(&server, "https://a.test").await, Service::trusting(&server, "https://b.test").await);
        let body = body_of(server.exchange_for(&key.value, json!({ "audience": "https://a.test" })).await, StatusCode::OK).await;
        let token = body["access_token"].as_str().unwrap();
        assert_eq!((a.ask("GET", token).await.0, a.ask("POST", token).await.0), (200, 403));
        assert_eq!(b.ask("GET", token).await.0, 401, "it is not for that one");
        let answer = server.exchange_for(&key.value, json!({ "audience": "https://c.test" })).await;
        assert_eq!(answer.status(), 400, "what that one takes, the key does not have");
    }

    // Features: I6.
    async fn keys_are_long_lived_and_tokens_short_lived(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        for _ in 0..3 {
            let claims = verify(&server, &server.fetch_token(&key.value).await, AUDIENCE).await;
            let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert_eq!(life, 600);
            server.advance(30 * 24 * 3600);
        }
        server.fetch_token(&key.value).await;
    }

    // Features: I7.
    async fn token_subject_is_the_owner_of_the_key(server: Server) {
        product(&server).await;
        for (owner, sub, sub_type, organization) in [
            (ann(), "ann", "user", json!("acme")),
            (json!({ "type": "user", "id": "carol" }), "carol", "user", json!(null)),
            (acme(), "organization:acme", "organization", json!("acme")),
        ] {
            let key = key_of(&server, owner, &["projects:read"]).await;
            let claims = verify(&server, &server.fetch_token(&key.value).await, AUDIENCE).await;
            assert_eq!((&claims["sub"], &claims["sub_type"]), (&json!(sub), &json!(sub_type)));
            assert_eq!((&claims["org_id"], &claims["key_id"]), (&organization, &json!(key.id)));
        }
        let key = server.client_key(&["projects:read"]).await;
        let claims = verify(&server, &server.fetch_token(&key.value).await, AUDIENCE).await;
        assert_eq!((&claims["sub"], &claims["sub_type"]), (&json!(key.client), &json!("service_client")));
    }

    // Features: I8.
    async fn replicas_share_only_the_database(server: Server) {
        let (second, third) = (server.replica().await, server.replica().await);
        let key = server.generic_key(&["projects:read"]).await;
        let token = second.fetch_token(&key.value).await;
        let service = Service::trusting(&third, AUDIENCE).await;
        assert_eq!(service.call("GET", &token).await.status(), 200);
        // Stopping one replica does not affect the others.
        let _database = server.stop().await;
        assert_eq!(service.call("GET", &third.fetch_token(&key.value).await).await.status(), 200);
        third.step(&key, "revoke").await;
        assert_eq!(second.exchange(&key.value).await.status(), 401);
    }

    // Features: I9.
    async fn one_token_works_at_several_services(server: Server) {
        let names = ["https://a.test", "https://b.test", "https://c.test"];
        for name in names {
            server.audience(name, None).await;
        }
        let key = server.generic_key(&["projects:read"]).await;
        let body = body_of(server.exchange_for(&key.value, json!({ "audience": names[..2] })).await, StatusCode::OK).await;
        for (name, status) in names.into_iter().zip([200, 200, 401]) {
            let service = Service::trusting(&server, name).await;
            assert_eq!(service.call("GET", body["access_token"].as_str().unwrap()).await.status(), status, "{name}");
        }
    }

    // Features: I10.
    async fn ibm_request_format_works_unchanged(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        for path in ["/identity/token", "/oauth/token"] {
            let request = form(server.post(path), &[("grant_type", IBM), ("apikey", &key.value), ("response_type", "cloud_iam")]);
            let body = body_of(request.send().await.unwrap(), StatusCode::OK).await;
            assert_eq!(verify(&server, body["access_token"].as_str().unwrap(), AUDIENCE).await["sub"], key.id.as_str());
            assert!(body["expires_in"].is_u64() && body["token_type"] == "Bearer", "{body}");
        }
    }
}

/// The login of the host application: another issuer with its own signing key.
struct Login {
    issuer: &'static str,
    key: rcgen::KeyPair,
}

impl Login {
    fn new() -> Self {
        Self { issuer: "https://login.test", key: rcgen::KeyPair::generate().unwrap() }
    }

    fn jwks(&self) -> JwkSet {
        // An uncompressed point: the byte 4, x and y.
        let point = self.key.public_key_raw();
        let coordinate = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "login-1",
            "x": coordinate(1..33), "y": coordinate(33..65),
        });
        serde_json::from_value(json!({ "keys": [jwk] })).unwrap()
    }

    fn token(&self, subject: &str, scope: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let header = Header { kid: Some("login-1".to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({ "iss": self.issuer, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 600, "scope": scope });
        encode(&header, &claims, &EncodingKey::from_ec_der(self.key.serialized_der())).unwrap()
    }
}
