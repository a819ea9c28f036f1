//! Tokens with a valid signature that Keyswap did not issue. The holder of a signing key can create
//! them; each is refused wherever Keyswap accepts tokens.

use std::sync::atomic::{AtomicU64, Ordering};

use keyswap::{
    domain::{common::time::Timestamp, signing::SigningKeyState},
    store::credentials::revoked_tokens,
};
use serde_json::{Value, json};

use crate::{
    introspection::{accepted_at_v1, at_every_endpoint, is_active, revoke::revoke, token, tokens},
    portal::key_management::{people, personal},
    standards::rfc8725::{TokenForger, changed, part},
    support::{Key, Server, both},
};

/// A key, and the claims of its tokens for the default and for the management audience.
struct Subject {
    key: Key,
    claims: [String; 2],
}

impl Subject {
    async fn new(server: &Server) -> Self {
        let (key, product, management) = at_every_endpoint(server).await;
        Self { key, claims: [part(&product, 1), part(&management, 1)] }
    }

    /// Both tokens, with these changes of the claims, signed by `forger`.
    async fn signed(&self, forger: &TokenForger<'_>, changes: &Value) -> [String; 2] {
        let [product, management] = &self.claims;
        let sign = async |claims: &str| forger.token(&forger.header, &changed(claims, changes.clone())).await;
        [sign(product).await, sign(management).await]
    }

    /// Whether introspection, validation, the access check, `/v1` and revocation accept the tokens.
    async fn accepted(&self, server: &Server, forger: &TokenForger<'_>, changes: Value) -> [bool; 5] {
        let [product, management] = self.signed(forger, &changes).await;
        let [introspected, validated, allowed, called] = accepted_at_v1(server, &product, &management).await;
        // A token id of its own, so that the revocation ends no other token.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let jti = format!("forged-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut with_id = changes;
        with_id["jti"] = json!(jti);
        let [product, _] = self.signed(forger, &with_id).await;
        revoke(server, &self.key.value, &product).await;
        let is_revoked = server.services.store.read(move |connection| revoked_tokens::is_revoked(connection, &jti));
        [introspected, validated, allowed, called, is_revoked.await.unwrap()]
    }
}

fn claim(claims: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(claims).unwrap()[name].clone()
}

/// How many forged tokens the server has counted.
async fn forged_tokens(server: &Server) -> u64 {
    let text = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("keyswap_forged_tokens_total ")).unwrap();
    line.parse().unwrap()
}

/// When the signing key of the forger became active, in seconds since 1970, rounded down.
async fn activated_at(server: &Server, forger: &TokenForger<'_>) -> i64 {
    let keys = server.manage("GET", "/v1/signing-keys", None, 200).await;
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["kid"] == claim(&forger.header, "kid")).unwrap();
    key["activated_at"].as_str().unwrap().parse::<Timestamp>().unwrap().seconds()
}

both! {
    async fn token_is_accepted_only_from_a_signing_key_in_use(server: Server, "jobs=by_hand") {
        let subject = Subject::new(&server).await;
        let active = TokenForger::in_state(&server, SigningKeyState::Active).await;
        let next = TokenForger::in_state(&server, SigningKeyState::Next).await;
        assert_eq!(subject.accepted(&server, &active, json!({})).await, [true; 5], "the forger works");
        let activated = activated_at(&server, &active).await;
        assert_eq!(subject.accepted(&server, &active, json!({ "iat": activated })).await, [true; 5]);
        assert_eq!(subject.accepted(&server, &active, json!({ "iat": activated - 1 })).await, [false; 5]);
        let counted = forged_tokens(&server).await;
        assert_eq!(subject.accepted(&server, &next, json!({})).await, [false; 5], "a next key");
        assert_eq!(forged_tokens(&server).await, counted + 5, "each is counted");

        // The former next key signs from its activation, and the former active key until it is removed.
        server.advance(3600 + 61);
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        let subject = Subject::new(&server).await;
        assert_eq!(subject.accepted(&server, &active, json!({})).await, [true; 5], "a retiring key");
        assert_eq!(subject.accepted(&server, &next, json!({})).await, [true; 5], "a key that became active");
        let activated = activated_at(&server, &next).await;
        assert_eq!(subject.accepted(&server, &next, json!({ "iat": activated - 1 })).await, [false; 5]);
        let path = format!("/v1/signing-keys/{}/revoke", claim(&next.header, "kid").as_str().unwrap());
        server.manage("POST", &path, None, 200).await;
        assert_eq!(subject.accepted(&server, &next, json!({})).await, [false; 5], "a revoked key");
        server.advance(3600 + 121);
        server.run_jobs().await;
        server.run_jobs().await;
        let subject = Subject::new(&server).await;
        assert_eq!(subject.accepted(&server, &active, json!({})).await, [false; 5], "a removed key");
    }

    async fn token_is_accepted_only_with_the_facts_of_its_key(server: Server) {
        let subject = Subject::new(&server).await;
        let other = Subject::new(&server).await;
        let owner = json!({ "type": "service_client", "id": subject.key.client });
        let permissions = ["a", "keyswap:events"];
        let sibling = server.key(json!({ "name": "a sibling", "owner": owner, "permissions": permissions })).await;
        let forger = TokenForger::in_state(&server, SigningKeyState::Active).await;
        assert_eq!(subject.accepted(&server, &forger, json!({})).await, [true; 5], "the forger works");
        let status = claim(&other.claims[0], "status");
        let own = claim(&subject.claims[0], "status")["status_list"].clone();
        let with_uri = |uri: String| json!({ "status": { "status_list": { "idx": own["idx"], "uri": uri } } });
        let uri = own["uri"].as_str().unwrap();
        for changes in [
            json!({ "sub": other.key.client }), json!({ "sub": subject.key.id }), json!({ "sub": "" }),
            json!({ "sub_type": "user" }), json!({ "client_id": other.key.client }), json!({ "client_id": subject.key.id }),
            json!({ "org_id": "acme" }),
            json!({ "key_id": other.key.id }), json!({ "key_id": sibling.id }),
            // Everything of another key, except the credential.
            json!({ "key_id": other.key.id, "sub": other.key.client, "client_id": other.key.client }),
            json!({ "status": null }), json!({ "status": status }),
            json!({ "status": { "status_list": { "idx": own["idx"].as_u64().unwrap() ^ 1, "uri": uri } } }),
            with_uri(format!("https://evil.test{}", uri.strip_prefix("http://keyswap.test").unwrap())),
            with_uri(uri.replace("/v1/status-lists/", "/v1/")),
        ] {
            assert_eq!(subject.accepted(&server, &forger, changes.clone()).await, [false; 5], "{changes}");
        }
    }

    async fn token_is_accepted_only_with_the_facts_of_a_member_key(server: Server) {
        people(&server).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        let issued = server.fetch_token(&key.value).await;
        let forger = TokenForger::in_state(&server, SigningKeyState::Active).await;
        let active = async |changes: Value| {
            let forged = forger.token(&forger.header, &changed(&part(&issued, 1), changes)).await;
            is_active(&server, &forged).await
        };
        assert!(active(json!({})).await, "the forger works");
        for changes in [
            json!({ "org_id": null }), json!({ "org_id": "globex" }), json!({ "sub": "manager" }),
            json!({ "sub": "organization:acme", "sub_type": "organization" }),
        ] {
            assert!(!active(changes.clone()).await, "{changes}");
        }
    }

    async fn token_with_a_status_of_its_own_is_accepted_only_with_it(server: Server) {
        let audience = server.audience("https://own.test/", None).await;
        let path = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        server.manage("PATCH", &path, Some(json!({ "status": "token" })), 200).await;
        let key = server.client_key(&["a"]).await;
        let of_audience = async || {
            let asked = json!({ "audience": "https://own.test/" });
            token(&server, &key.value, asked).await
        };
        let (issued, other, shared) = (of_audience().await, of_audience().await, server.fetch_token(&key.value).await);
        let forger = TokenForger::in_state(&server, SigningKeyState::Active).await;
        let active = async |changes: Value| {
            let forged = forger.token(&forger.header, &changed(&part(&issued, 1), changes)).await;
            is_active(&server, &forged).await
        };
        assert!(active(json!({})).await, "the forger works");
        for status in [claim(&part(&other, 1), "status"), claim(&part(&shared, 1), "status"), Value::Null] {
            assert!(!active(json!({ "status": status })).await, "{status}");
        }
    }

    async fn clock_that_was_set_back_refuses_no_token(server: Server, "jobs=by_hand") {
        server.advance(24 * 3600);
        server.run_jobs().await;
        server.manage("POST", "/v1/signing-keys/rotate", None, 200).await;
        let (key, ..) = at_every_endpoint(&server).await;
        server.database.set_clock(-3_600_000);
        let (product, management) = tokens(&server, &key.value).await;
        let iat = claim(&part(&product, 1), "iat").as_i64().unwrap();
        assert!(iat <= server.services.store.now().await.unwrap().seconds(), "verifiers refuse tokens of the future");
        assert_eq!(accepted_at_v1(&server, &product, &management).await, [true; 4]);
    }
}

#[test]
fn forger_changes_what_it_names() {
    let text = r#"{"a":1,"b":{"c":2}}"#;
    assert_eq!(changed(text, json!({ "b": null })), r#"{"a":1}"#);
    assert_eq!(changed(text, json!({ "d": 3, "a": 2 })), r#"{"a":2,"b":{"c":2},"d":3}"#);
}
