//! Audiences with their own signing algorithm, and the lifecycle of the signing keys they need.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{path_of, token_for, token_profile};
use crate::{
    support::calls::events_after,
    support::{MANUAL_JOBS, Server, body_of, both, header_of, run_jobs_of, until_jobs, verify, wire::oauth_error},
};

const A: &str = "https://a.test/";
/// In seconds: verifier_cache_ttl + replica_staleness + clock_skew.
const UNTIL_IT_MAY_SIGN: i64 = 3600 + 30 + 30;

async fn keys(server: &Server) -> Vec<Value> {
    server.manage("GET", "/v1/signing-keys", None, 200).await["data"].as_array().unwrap().clone()
}

/// The kids of the keys with the given algorithm and state.
async fn kids(server: &Server, algorithm: &str, state: &str) -> Vec<String> {
    let keys = keys(server).await;
    let found = keys.iter().filter(|key| key["algorithm"] == algorithm && key["state"] == state);
    found.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn one(server: &Server, algorithm: &str, state: &str) -> String {
    let [kid] = kids(server, algorithm, state)
        .await
        .try_into()
        .unwrap_or_else(|found| panic!("{algorithm} {state}: {found:?}"));
    kid
}

async fn signs_with(server: &Server, audience: &Value) -> Value {
    server.manage("GET", &path_of(audience), None, 200).await["signs_with"].clone()
}

/// Runs the jobs until tokens of the audience are signed with the algorithm.
async fn until_signed_with(server: &Server, audience: &Value, algorithm: &str) {
    until_jobs(&[server], algorithm, async || signs_with(server, audience).await == algorithm).await;
}

both! {
    async fn audience_key_activates_automatically_after_the_propagation_delay(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let replica = server.replica().await;
        let before = server.events().await.len();
        let audience = token_profile(&server, A, json!({ "algorithm": "RS256" })).await;
        assert_eq!((&audience["algorithm"], &audience["signs_with"]), (&json!("RS256"), &json!("ES256")));
        let next = one(&server, "RS256", "next").await;
        let jwks = body_of(server.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
        assert!(jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == next.as_str()), "published at once");
        assert_eq!(events_after(&server, before).await, ["signing_key.published", "audience.created"]);
        assert_eq!(token_for(&server, &key, A).await.0["alg"], "ES256");
        // A second audience reuses the existing key.
        let second = token_profile(&server, "https://b.test/", json!({ "algorithm": "RS256" })).await;
        assert_eq!(one(&server, "RS256", "next").await, next);

        // The server's clock may be past the publication time by now, so the test keeps
        // a margin of 60 seconds.
        server.advance(UNTIL_IT_MAY_SIGN - 60);
        run_jobs_of(&[&server, &replica]).await;
        assert_eq!(signs_with(&server, &audience).await, "ES256", "some verifier may not know it");
        assert_eq!(token_for(&replica, &key, A).await.0["alg"], "ES256");
        server.advance(61);
        until_signed_with(&server, &audience, "RS256").await;
        until_signed_with(&replica, &second, "RS256").await;
        for server in [&server, &replica] {
            let (header, claims) = token_for(server, &key, A).await;
            assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!(next)));
            assert_eq!(claims["aud"], A);
            let token = server.fetch_token(&key).await;
            assert_eq!(header_of(&token)["alg"], "ES256", "the others stay as they were");
        }
        run_jobs_of(&[&server, &replica]).await;
        assert_eq!(one(&server, "RS256", "active").await, next);
        assert_ne!(one(&server, "RS256", "next").await, next, "its next key is published");
        let moved = events_after(&server, before + 3).await;
        assert_eq!(moved, ["signing_key.activated", "signing_key.published"], "once, whichever replica came first");
        let listed = keys(&server).await;
        let active = listed.iter().find(|key| key["kid"] == next.as_str()).unwrap();
        assert_eq!(active["longest_ttl"], "1h", "its tokens may live so long, and it stays published so long");
        assert!(active["activated_at"].as_str() >= active["may_sign_from"].as_str(), "{active}");
    }

    async fn rotation_keeps_keys_of_audience_algorithms(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let audience = token_profile(&server, A, json!({ "algorithm": "EdDSA" })).await;
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        until_signed_with(&server, &audience, "EdDSA").await;
        let (signing, following) = (one(&server, "EdDSA", "active").await, one(&server, "EdDSA", "next").await);
        let old = one(&server, "ES256", "active").await;
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(one(&server, "ES256", "retiring").await, old);
        assert_eq!(one(&server, "EdDSA", "active").await, signing);
        assert_eq!(one(&server, "EdDSA", "next").await, following);
        assert_eq!(token_for(&server, &key, A).await.0["kid"], signing.as_str());
        assert_eq!(header_of(&server.fetch_token(&key).await)["alg"], "ES256");

        // No audience requests the algorithm any more: the next rotation retires its key, and
        // tokens signed with it remain valid.
        let (_, claims) = token_for(&server, &key, A).await;
        assert_eq!(claims["aud"], A);
        let token = server.exchange_for(&key, json!({ "audience": A })).await;
        let token = body_of(token, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned();
        let changed = server.manage("PATCH", &path_of(&audience), Some(json!({ "algorithm": null })), 200).await;
        assert_eq!(changed["signs_with"], "ES256");
        assert_eq!(token_for(&server, &key, A).await.0["alg"], "ES256");
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(one(&server, "EdDSA", "retiring").await, signing);
        assert_eq!(one(&server, "EdDSA", "removed").await, following, "it never signed");
        verify(&server, &token, A).await;

        // When an audience requests the algorithm again, a new key is published.
        let again = server.manage("PATCH", &path_of(&audience), Some(json!({ "algorithm": "EdDSA" })), 200).await;
        assert_eq!(again["signs_with"], "ES256");
        assert!(![signing, following].contains(&one(&server, "EdDSA", "next").await));
    }

    async fn change_of_default_algorithm_keeps_audience_keys(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let (kept, dropped) = ("https://kept.test/", "https://dropped.test/");
        let audience = token_profile(&server, kept, json!({ "algorithm": "ES256" })).await;
        let other = token_profile(&server, dropped, json!({ "algorithm": "ES384" })).await;
        assert_eq!(audience["signs_with"], "ES256");
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        until_signed_with(&server, &other, "ES384").await;
        let server = Server::on(server.stop().await, &[MANUAL_JOBS, "signing_keys.algorithm=EdDSA"]).await;
        assert_eq!(header_of(&server.fetch_token(&key).await)["alg"], "ES256", "the old algorithm signs until a rotation");
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        run_jobs_of(&[&server, &server]).await;
        assert!(kids(&server, "EdDSA", "active").await.is_empty(), "that of the configuration waits for a rotation");
        let asked = one(&server, "ES256", "active").await;
        server.manage("DELETE", &path_of(&other), None, 204).await;
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        assert_eq!(header_of(&server.fetch_token(&key).await)["alg"], "EdDSA");
        assert_eq!(one(&server, "ES256", "active").await, asked);
        assert_eq!(token_for(&server, &key, kept).await.0["alg"], "ES256");
        assert!(kids(&server, "ES384", "active").await.is_empty() && kids(&server, "ES384", "next").await.is_empty());
        assert_eq!(kids(&server, "ES384", "retiring").await.len(), 1);
    }

    async fn jwks_can_be_filtered_by_algorithm(server: Server) {
        token_profile(&server, A, json!({ "algorithm": "RS256" })).await;
        let get = async |query: &str| server.get(&format!("/.well-known/jwks.json{query}")).send().await.unwrap();
        let all = body_of(get("").await, StatusCode::OK).await;
        let kids = |jwks: &Value, of: Option<&str>| -> BTreeSet<String> {
            let keys = jwks["keys"].as_array().unwrap().iter();
            keys.filter(|key| of.is_none_or(|of| key["alg"] == of)).map(|key| key["kid"].to_string()).collect()
        };
        for (algorithm, count) in [("ES256", 2), ("RS256", 1), ("EdDSA", 0), ("ES384", 0), ("PS256", 0)] {
            let some = body_of(get(&format!("?alg={algorithm}")).await, StatusCode::OK).await;
            assert_eq!(kids(&some, None), kids(&all, Some(algorithm)));
            assert_eq!(kids(&some, None).len(), count, "{algorithm}");
        }
        for unknown in ["?alg=", "?alg=es256", "?alg=HS256", "?alg=none", "?alg=ES256%20", "?alg=ES256&alg=RS256", "?a=1&alg=x", "?Alg=ES256", "?alg[]=ES256"] {
            oauth_error(get(unknown).await, 400, "invalid_request").await;
        }
        for other in ["?a=b", "?alg2=x&a", "?&&"] {
            assert_eq!(body_of(get(other).await, StatusCode::OK).await, all, "{other} is not ours");
        }
        let some = get("?alg=ES256&x=y").await;
        let (tag, whole) = (some.headers()["etag"].clone(), get("").await.headers()["etag"].clone());
        assert_ne!(tag, whole);
        assert_eq!(some.headers()["content-type"], "application/jwk-set+json");
        assert_eq!(some.headers()["access-control-allow-origin"], "*");
        assert!(some.headers()["cache-control"].to_str().unwrap().starts_with("public, max-age="));
        let url = server.url("/.well-known/jwks.json?alg=ES256");
        let known = server.http.get(&url).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!((known.status(), &known.headers()["etag"]), (StatusCode::NOT_MODIFIED, &tag));
        let changed = server.http.get(&url).header("if-none-match", whole).send().await.unwrap();
        assert_eq!(changed.status(), StatusCode::OK);
        let head = server.http.head(&url).send().await.unwrap();
        assert_eq!((head.status(), &head.headers()["etag"]), (StatusCode::OK, &tag));
        let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(length, some.bytes().await.unwrap().len());
        assert!(head.bytes().await.unwrap().is_empty());
    }

    async fn wrongly_retired_audience_key_is_replaced_automatically(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await.value;
        let audience = token_profile(&server, A, json!({ "algorithm": "EdDSA" })).await;
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        until_signed_with(&server, &audience, "EdDSA").await;
        // Emulates a rotation by a version without algorithms per audience.
        server.database.sql("UPDATE signing_keys SET state = 'retiring', retired_at = published_at, version = version + 1 \
            WHERE algorithm = 'EdDSA' AND state = 'active'");
        server.database.sql("UPDATE signing_keys SET state = 'removed', version = version + 1 WHERE algorithm = 'EdDSA' AND state = 'next'");
        until_jobs(&[&server], "a next key is published", async || !kids(&server, "EdDSA", "next").await.is_empty()).await;
        assert_eq!(token_for(&server, &key, A).await.0["alg"], "ES256");
        server.advance(UNTIL_IT_MAY_SIGN + 1);
        until_signed_with(&server, &audience, "EdDSA").await;
    }
}
