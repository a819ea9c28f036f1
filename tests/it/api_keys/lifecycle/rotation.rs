//! Rotation of keys: headers for the previous value, visibility of its use, and cancellation.

use chrono::DateTime;
use keyswap::{
    domain::{common::id::KeyId, credentials::secret_digest::SecretDigest, events::Origin},
    store::{self, NoEvent, Outcome, StoreError, Tx, api_keys::credentials::NewCredential},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Key, Server, body_of, both};

async fn rotate(server: &Server, key: &Key, grace: &str) -> Key {
    let path = format!("/v1/api-keys/{}/rotate", key.id);
    let rotated = server.manage("POST", &path, Some(json!({ "grace": grace })), 200).await;
    Key { value: rotated["value"].as_str().unwrap().to_owned(), ..key.clone() }
}

async fn cancel(server: &Server, key: &Key, status: u16) -> Value {
    server.manage("POST", &format!("/v1/api-keys/{}/cancel-rotation", key.id), None, status).await
}

async fn cancel_as(server: &Server, credential: &str, key: &Key) -> Response {
    server.post(&format!("/v1/api-keys/{}/cancel-rotation", key.id)).bearer_auth(credential).send().await.unwrap()
}

/// Sends a key in every form of exchange and to `explain`.
async fn every_form(server: &Server, key: &Key) -> Vec<(&'static str, Response)> {
    let exchange_grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let kind = "urn:keyswap:params:oauth:token-type:api-key";
    let ibm = [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", &key.value)];
    let ibm: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(ibm).finish();
    let ibm = server.post("/identity/token").header("content-type", "application/x-www-form-urlencoded").body(ibm);
    let explain = |body: Value| server.post("/v1/exchange/explain").bearer_auth(&key.value).json(&body);
    vec![
        ("exchange", server.exchange(&key.value).await),
        (
            "client credentials",
            server
                .token(&[("grant_type", "client_credentials"), ("client_id", &key.id), ("client_secret", &key.value)])
                .await,
        ),
        (
            "token exchange",
            server
                .token(&[("grant_type", exchange_grant), ("subject_token", &key.value), ("subject_token_type", kind)])
                .await,
        ),
        ("identity", ibm.send().await.unwrap()),
        ("explain", explain(json!({})).send().await.unwrap()),
        ("explain of a refusal", explain(json!({ "audience": "unknown" })).send().await.unwrap()),
    ]
}

both! {
    // Features: P13.
    async fn response_says_when_the_presented_value_ends(server: Server) {
        const MEMBERS: [&str; 2] = ["credential_expires_at", "credential_replaced_at"];
        let seconds = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        let old = server.generic_key(&["a"]).await;
        let check = async |key: &Key, expected: Option<(&str, Option<&str>)>| {
            for (form, answer) in every_form(&server, key).await {
                assert_eq!(answer.status(), 200, "{form}");
                let headers = answer.headers().clone();
                // These are about the resource, which does not go away.
                assert!(!headers.contains_key("deprecation") && !headers.contains_key("sunset"), "{form}");
                let header = headers.get("keyswap-credential-end").map(|value| value.to_str().unwrap());
                let wanted = expected.map(|(expires, replaced)| {
                    let replaced = replaced.map(|at| format!(";replaced=@{}", seconds(at))).unwrap_or_default();
                    format!("@{}{replaced}", seconds(expires))
                });
                assert_eq!(header, wanted.as_deref(), "{form}");
                let body: Value = answer.json().await.unwrap();
                if body.get("access_token").is_some() {
                    let found = MEMBERS.map(|name| body.get(name).and_then(Value::as_str));
                    assert_eq!(found, [expected.map(|one| one.0), expected.and_then(|one| one.1)], "{form}: {body}");
                }
            }
        };
        check(&old, None).await;
        let new = rotate(&server, &old, "2h").await;
        check(&new, None).await;
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", old.id), None, 200).await;
        let end = shown["credentials"][1]["expires_at"].as_str().unwrap().to_owned();
        let replaced = shown["credentials"][0]["created_at"].as_str().unwrap().to_owned();
        check(&old, Some((&end, Some(&replaced)))).await;
        // A key that ends without a rotation, and before the grace of the rotated one.
        let soon = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
        let soon = serde_json::to_value(soon).unwrap();
        server.manage("PATCH", &format!("/v1/api-keys/{}", old.id), Some(json!({ "expires_at": soon })), 200).await;
        check(&new, Some((soon.as_str().unwrap(), None))).await;
        check(&old, Some((soon.as_str().unwrap(), Some(&replaced)))).await;
        server.advance(3601);
        let refused = server.exchange(&old.value).await;
        assert_eq!(refused.status(), 401);
        assert!(!refused.headers().contains_key("keyswap-credential-end"));
    }

    // Features: P13.
    async fn use_of_the_old_value_is_recorded(server: Server, "jobs=by_hand") {
        let old = server.generic_key(&["a"]).await;
        let new = rotate(&server, &old, "2h").await;
        let used = async || -> Vec<Value> {
            server.services.last_used.flush().await.unwrap();
            let shown = server.manage("GET", &format!("/v1/api-keys/{}", old.id), None, 200).await;
            shown["credentials"].as_array().unwrap().iter().map(|one| one["last_used_at"].clone()).collect()
        };
        assert_eq!(used().await, [Value::Null, Value::Null]);
        server.fetch_token(&new.value).await;
        let first = used().await;
        assert!(first[0].is_string() && first[1].is_null(), "the new one alone: {first:?}");
        server.advance(60);
        server.fetch_token(&old.value).await;
        let second = used().await;
        assert_eq!(second[0], first[0]);
        assert!(second[1].as_str() > second[0].as_str(), "the old one is the last that was used: {second:?}");
    }

    // Features: P13.
    async fn rotation_can_be_cancelled(server: Server) {
        let old = server.generic_key(&["a"]).await;
        assert!(cancel(&server, &old, 409).await["detail"].as_str().unwrap().contains("not rotating"));
        let new = rotate(&server, &old, "2h").await;
        let path = format!("/v1/api-keys/{}/cancel-rotation", old.id);
        let stale = server.post(&path).bearer_auth(&server.admin).header("if-match", "\"1\"").send().await.unwrap();
        assert_eq!(stale.status(), 412);
        assert!(server.exchange(&new.value).await.status() == 200, "a refusal changes nothing");

        let kept = cancel(&server, &old, 200).await;
        assert_eq!(kept["version"], 3);
        assert!(kept.get("value").is_none());
        let credentials = kept["credentials"].as_array().unwrap();
        assert_eq!((credentials.len(), &credentials[0]["expires_at"]), (1, &Value::Null));
        assert!(old.value.contains(credentials[0]["id"].as_str().unwrap()));
        assert_eq!(server.exchange(&new.value).await.status(), 401, "at once");
        let answer = server.exchange(&old.value).await;
        assert!(answer.status() == 200 && !answer.headers().contains_key("keyswap-credential-end"));
        server.advance(3 * 3600);
        assert_eq!(server.exchange(&old.value).await.status(), 200, "it has no end any more");
        let last = server.events().await.pop().unwrap();
        assert_eq!((&last["type"], &last["subject"]["id"]), (&json!("api_key.rotation_cancelled"), &json!(old.id)));
        assert_eq!(last["data"], json!({ "credential": credentials[0]["id"], "version": 3 }));
        cancel(&server, &old, 409).await;

        // After the cancellation the key can be rotated again.
        // A client whose response was lost repeats the request and learns what happened.
        let rotate_path = format!("/v1/api-keys/{}/rotate", old.id);
        let once = async |idempotency_key: &str| {
            server.post(&rotate_path).bearer_auth(&server.admin).header("idempotency-key", idempotency_key).send().await.unwrap()
        };
        let lost = body_of(once("a").await, StatusCode::OK).await;
        let replay = once("a").await;
        assert_eq!(replay.headers()["idempotency-replayed"], "true");
        let replay = body_of(replay, StatusCode::OK).await;
        assert!(replay.get("value").is_none() && replay["credentials"] == lost["credentials"], "{replay}");
        let second = body_of(once("b").await, StatusCode::CONFLICT).await;
        assert!(second["detail"].as_str().unwrap().contains("cancel-rotation"), "{second}");
        cancel(&server, &old, 200).await;
        assert_eq!(server.exchange(lost["value"].as_str().unwrap()).await.status(), 401, "the lost value has ended");
        let repeated = body_of(once("b").await, StatusCode::OK).await;
        assert_eq!(server.exchange(repeated["value"].as_str().unwrap()).await.status(), 200);
        cancel(&server, &old, 200).await;

        let third = rotate(&server, &old, "1h").await;
        assert_eq!(server.exchange(&third.value).await.status(), 200);
        server.advance(3601);
        cancel(&server, &old, 409).await;
        server.step(&old, "revoke").await;
        assert!(cancel(&server, &old, 409).await["detail"].as_str().unwrap().contains("revoked"));
        server.manage("POST", "/v1/api-keys/key_01JD0000000000000000000000/cancel-rotation", None, 404).await;
    }

    // Features: P13.
    async fn key_cannot_cancel_its_own_rotation(server: Server) {
        let old = server.client_key(&["keyswap:keys", "a"]).await;
        let new = rotate(&server, &old, "2h").await;
        let body = body_of(server.exchange_for(&old.value, json!({ "audience": "http://keyswap.test/v1" })).await, StatusCode::OK).await;
        let token = body["access_token"].as_str().unwrap();
        for credential in [old.value.as_str(), new.value.as_str(), token] {
            assert_eq!(cancel_as(&server, credential, &old).await.status(), 403);
        }
        // Keeping a value valid grants all permissions of the key.
        let poorer = server.client_key(&["keyswap:keys"]).await;
        let refused = body_of(cancel_as(&server, &poorer.value, &old).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(refused.to_string().contains("\"permissions\""), "{refused}");
        assert_eq!(server.exchange(&new.value).await.status(), 200);
        cancel(&server, &old, 200).await;
        // The newest credential is invalid now. The token remains valid through the
        // credential that is left.
        let listed = server.get("/v1/api-keys").bearer_auth(token).send().await.unwrap();
        assert_eq!(listed.status(), 200);
    }

    // Features: P13.
    async fn cancellation_with_several_old_values_requires_a_choice(server: Server) {
        let old = server.generic_key(&["a"]).await;
        let new = rotate(&server, &old, "2h").await;
        let id: KeyId = old.id.parse().unwrap();
        let add = move |tx: &mut Tx<'_>| {
            let mut key = store::api_keys::keys::find_for_change(tx, &id)?.unwrap();
            let mut credential = key.credentials.pop().unwrap();
            credential.id = "0123456789ABCDEF".parse().unwrap();
            let new = NewCredential { credential, digest: SecretDigest::new([0; 32]), lookup_digest: None };
            store::api_keys::credentials::insert_credential(tx, &id, &new)?;
            Ok::<_, StoreError>(Outcome::without_event((), NoEvent::InternalState))
        };
        server.services.store.run_transaction(Origin::SYSTEM, add).await.unwrap();
        let refused = cancel(&server, &old, 409).await;
        assert!(refused["detail"].as_str().unwrap().contains("grace of \"0s\""), "{refused}");
        assert_eq!(server.exchange(&new.value).await.status(), 200);
    }
}

// Features: P13.
#[test]
fn rotation_headers_are_in_the_openapi_document() {
    let document = keyswap::http::openapi::document("http://127.0.0.1:8080").unwrap();
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    for path in ["/v1/exchange", "/v1/exchange/explain", "/oauth/token", "/identity/token"] {
        let headers = &document["paths"][path]["post"]["responses"]["200"]["headers"];
        assert!(headers["Keyswap-Credential-End"].is_object(), "{path}: {headers}");
    }
}
