//! Rotation of keys: headers for the previous value, visibility of its use, and cancellation.

use chrono::DateTime;
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
    async fn old_value_gets_deprecation_and_sunset_headers(server: Server) {
        let old = server.generic_key(&["a"]).await;
        let no_headers = async |key: &Key| {
            for (form, answer) in every_form(&server, key).await {
                assert_eq!(answer.status(), 200, "{form}");
                let headers = answer.headers();
                assert!(!headers.contains_key("deprecation") && !headers.contains_key("sunset"), "{form}");
            }
        };
        no_headers(&old).await;
        let new = rotate(&server, &old, "2h").await;
        no_headers(&new).await;
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", old.id), None, 200).await;
        let end = DateTime::parse_from_rfc3339(shown["credentials"][1]["expires_at"].as_str().unwrap()).unwrap();
        for (form, answer) in every_form(&server, &old).await {
            assert_eq!(answer.status(), 200, "{form}");
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            let sunset = header("sunset");
            assert!(sunset.ends_with(" GMT"), "{form}: {sunset}");
            assert_eq!(DateTime::parse_from_rfc2822(&sunset).unwrap().timestamp(), end.timestamp(), "{form}");
            let since: i64 = header("deprecation").strip_prefix('@').unwrap().parse().unwrap();
            // The rotation derives both times from a single reading of the clock.
            assert_eq!(since, (end - chrono::Duration::hours(2)).timestamp(), "{form}");
        }
        server.advance(2 * 3600);
        let refused = server.exchange(&old.value).await;
        assert_eq!(refused.status(), 401);
        assert!(!refused.headers().contains_key("sunset"));
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
        assert!(answer.status() == 200 && !answer.headers().contains_key("deprecation"));
        server.advance(3 * 3600);
        assert_eq!(server.exchange(&old.value).await.status(), 200, "it has no end any more");
        let last = server.events().await.pop().unwrap();
        assert_eq!((&last["type"], &last["subject"]["id"]), (&json!("api_key.rotation_cancelled"), &json!(old.id)));
        assert_eq!(last["data"], json!({ "credential": credentials[0]["id"] }));
        cancel(&server, &old, 409).await;

        // After the cancellation the key can be rotated again.
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
        let columns = "key_id, prefix, encrypted_secret, master_version, created_at, expires_at";
        server.database.sql(&format!(
            "INSERT INTO credentials (id, {columns}) SELECT '0123456789ABCDEF', {columns} FROM credentials \
             WHERE key_id = '{}' AND expires_at IS NOT NULL",
            old.id
        ));
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
        assert!(headers["Deprecation"].is_object() && headers["Sunset"].is_object(), "{path}: {headers}");
    }
}
