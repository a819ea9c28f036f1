//! The lifecycle of signing keys: published before they sign, published after they are retired, and
//! with exactly one active key.

use std::sync::Arc;

use keyswap::domain::common::time::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::process::{LONG, until};
use crate::support::{Kind, Server, body_of, both, header_of, race::race, verify, wire::problem};

/// In seconds: verifier_cache_ttl + replica_staleness + clock_skew + 1.
const UNTIL_IT_MAY_SIGN: i64 = 3600 + 30 + 30 + 1;
/// In seconds: replica_staleness + max_ttl + verifier_leeway + clock_skew + 1.
const UNTIL_IT_MAY_GO: i64 = 30 + 3600 + 60 + 30 + 1;

async fn keys(server: &Server) -> Vec<Value> {
    server.manage("GET", "/v1/signing-keys", None, 200).await["data"].as_array().unwrap().clone()
}

async fn in_state(server: &Server, state: &str) -> Vec<String> {
    let keys = keys(server).await;
    keys.iter().filter(|key| key["state"] == state).map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn published(server: &Server) -> Vec<String> {
    let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The `kid` of a newly issued token. Asserts that the token verifies against the JWKS.
async fn signs(server: &Server, key: &str) -> String {
    let token = server.fetch_token(key).await;
    verify(server, &token, "http://keyswap.test").await;
    header_of(&token)["kid"].as_str().unwrap().to_owned()
}

both! {
    async fn signing_key_is_published_before_activation_and_after_retirement(server: Server) {
        let key = server.generic_key(&[]).await.value;
        let ([first], [second]) = (only(&server, "active").await, only(&server, "next").await);
        assert_eq!(published(&server).await.len(), 2, "the next key is published from the first start");
        assert_eq!(signs(&server, &key).await, first);
        let old_token = server.fetch_token(&key).await;

        let before = keys(&server).await;
        let refused = server.manage("POST", "/v1/signing-keys/rotate", None, 409).await;
        assert_eq!(refused["code"], "too_early");
        let next = before.iter().find(|key| key["state"] == "next").unwrap();
        let from = next["may_sign_from"].as_str().unwrap();
        assert!(refused["detail"].as_str().unwrap().contains(from), "{refused}");
        let wait = time(from).elapsed_since(time(next["published_at"].as_str().unwrap()));
        assert_eq!(i64::try_from(wait.as_secs()).unwrap(), UNTIL_IT_MAY_SIGN - 1);
        assert_eq!(keys(&server).await, before, "nothing has changed");

        server.advance(UNTIL_IT_MAY_SIGN);
        let rotated = server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(rotated["activated"]["kid"], second.as_str(), "the former next key signs");
        let [third] = only(&server, "next").await;
        assert_eq!(rotated["next"]["kid"], third.as_str());
        assert_eq!(&only(&server, "retiring").await[0], &first);
        let mut expected = vec![first.clone(), second.clone(), third.clone()];
        let mut found = published(&server).await;
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(signs(&server, &key).await, second);
        verify(&server, &old_token, "http://keyswap.test").await;
        server.manage("POST", "/v1/signing-keys/rotate", None, 409).await;

        server.advance(UNTIL_IT_MAY_GO.max(UNTIL_IT_MAY_SIGN));
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(&only(&server, "removed").await[0], &first, "its last token is dead");
        assert!(!published(&server).await.contains(&first));
        let kinds: Vec<_> = server.events().await.iter().map(|event| event["type"].clone()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == json!("signing_key.removed")).count(), 1);
    }

    async fn lower_max_ttl_keeps_issued_tokens_valid(server: Server, "tokens.max_ttl=24h") {
        let [first] = only(&server, "active").await;
        let database = server.stop().await;
        let server = Server::on(database, &["tokens.max_ttl=1h"]).await;
        for _ in 0..2 {
            server.advance(UNTIL_IT_MAY_GO.max(UNTIL_IT_MAY_SIGN));
            server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        }
        assert!(published(&server).await.contains(&first), "a token of 24 hours may hang on it");
        server.advance(24 * 3600);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert!(!published(&server).await.contains(&first));
    }

    async fn concurrent_rotations_rotate_once(server: Server) {
        let replica = server.replica().await;
        server.advance(UNTIL_IT_MAY_SIGN);
        let rotate = |to: &Server| to.post("/v1/signing-keys/rotate").bearer_auth(&to.admin);
        let [one, other] = race([(&server, rotate(&server)), (&replica, rotate(&replica))]).await;
        let statuses = [one.status(), other.status()];
        let refused = match statuses.map(|status| status == StatusCode::OK) {
            [true, false] => other,
            [false, true] if server.database.kind == Kind::Sqlite => one,
            _ => panic!("the first rotates, and no other: {statuses:?}"),
        };
        // The next key that the first rotation published may not sign yet.
        problem(refused, 409, "too_early").await;
        for state in ["active", "next", "retiring"] {
            only(&server, state).await;
        }
        let events = server.events().await;
        assert_eq!(events.iter().filter(|event| event["type"] == "signing_key.retired").count(), 1);
    }

    async fn algorithm_changes_by_configuration_and_rotation(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let [first] = only(&server, "active").await;
        let old_token = server.fetch_token(&key).await;
        let database = server.stop().await;
        let server = Server::on(Arc::clone(&database), &["signing_keys.algorithm=EdDSA"]).await;
        assert_eq!(signs(&server, &key).await, first, "the old algorithm signs until a rotation");
        let next = keys(&server).await.into_iter().find(|key| key["algorithm"] == "EdDSA").unwrap();
        assert_eq!(next["state"], "next", "published and not used");
        assert!(published(&server).await.contains(&next["kid"].as_str().unwrap().to_owned()));
        server.manage("POST", "/v1/signing-keys/rotate", None, 409).await;
        server.advance(UNTIL_IT_MAY_SIGN);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(signs(&server, &key).await, next["kid"].as_str().unwrap());
        assert_eq!(header_of(&server.fetch_token(&key).await)["alg"], "EdDSA");
        verify(&server, &old_token, "http://keyswap.test").await;
        // A restart with the same settings creates no key.
        server.services.live_tokens.flush().await.unwrap();
        let before = keys(&server).await;
        let server = Server::on(server.stop().await, &["signing_keys.algorithm=EdDSA"]).await;
        assert_eq!(keys(&server).await, before);
    }

    async fn stale_key_snapshot_stops_signing_and_is_still_served(server: Server, "signing_keys.replica_staleness=1s") {
        let key = server.generic_key(&[]).await.value;
        let before = published(&server).await;
        // Without the table, refreshes of the signing keys fail, while credential look-ups work.
        server.database.sql("ALTER TABLE signing_keys RENAME TO hidden");
        until("it is stale", LONG, || async { server.exchange(&key).await.status() == 503 }).await;
        let answer = server.exchange(&key).await;
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(server.get("/readyz").send().await.unwrap().status(), 503);
        assert_eq!(published(&server).await, before, "what was published stays published");
        server.database.sql("ALTER TABLE hidden RENAME TO signing_keys");
        until("it looks again", LONG, || async { server.exchange(&key).await.status() == 200 }).await;
        until("it is ready", LONG, || async { server.get("/readyz").send().await.unwrap().status() == 200 }).await;
    }
}

/// The `kid` of the only key in a state.
async fn only(server: &Server, state: &str) -> [String; 1] {
    let found = in_state(server, state).await;
    found.try_into().unwrap_or_else(|found| panic!("one key is {state}, not {found:?}"))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn tokens_of_every_algorithm_are_verifiable() {
    for (algorithm, kty) in [("ES256", "EC"), ("ES384", "EC"), ("EdDSA", "OKP"), ("RS256", "RSA"), ("PS256", "RSA")] {
        Server::run(Kind::Sqlite, &[&format!("signing_keys.algorithm={algorithm}")], |server| async move {
            let key = server.generic_key(&[]).await.value;
            let token = server.fetch_token(&key).await;
            assert_eq!(header_of(&token)["alg"], algorithm);
            verify(&server, &token, "http://keyswap.test").await;
            let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
            for jwk in jwks["keys"].as_array().unwrap() {
                assert_eq!((&jwk["kty"], &jwk["alg"], &jwk["use"]), (&json!(kty), &json!(algorithm), &json!("sig")));
                for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                    assert!(jwk.get(private).is_none());
                }
            }
            // A token with one altered character does not verify.
            let mut altered = token.into_bytes();
            let last = altered.len() - 10;
            altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            let [kid] = only(&server, "active").await;
            let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == kid.as_str()).unwrap();
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
            let header = jsonwebtoken::decode_header(&altered).unwrap();
            let mut validation = jsonwebtoken::Validation::new(header.alg);
            validation.set_audience(&["http://keyswap.test"]);
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            assert!(jsonwebtoken::decode::<Value>(&altered, &key, &validation).is_err());
        });
    }
}
