//! Tokens of more than 4 KiB are counted and logged, and those beyond `tokens.max_size` are refused
//! before anything is counted, stored or signed for them.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    faults::process::{Deployment, Running, each},
    support::{
        Key, Server, body_of, both,
        wire::{Wire, oauth_error, problem},
    },
};

/// Names of permissions of 100 characters each.
fn long_names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("permission:{n:03}:{}", "x".repeat(85))).collect()
}

/// A key of a service client with as many permissions.
async fn key_with(server: &Server, count: usize) -> Key {
    let names = long_names(count);
    server.client_key(&names.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// The tokens that were counted as large: issued and refused.
async fn read_counts(server: &Server) -> (u64, u64) {
    let text = server.get("/metrics").bearer_auth(&server.admin).send().await.unwrap().text().await.unwrap();
    let count = |result: &str| {
        let name = format!("keyswap_large_tokens_total{{result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    };
    (count("issued"), count("refused"))
}

async fn explain(server: &Server, key: &str, body: Value) -> Value {
    let request = server.post("/v1/exchange/explain").bearer_auth(key).json(&body);
    body_of(request.send().await.unwrap(), StatusCode::OK).await
}

both! {
    async fn a_token_beyond_the_maximum_is_refused_in_every_request_form(server: Server) {
        let key = key_with(&server, 80).await;
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "exchanges_per_minute": 3 })), 200).await;
        for wire in [Wire::Basic, Wire::Body, Wire::TokenExchange, Wire::Ibm, Wire::Bearer, Wire::Header] {
            let answer = wire.request(&server, &key.value).send().await.unwrap();
            let text = if wire.speaks_oauth() {
                oauth_error(answer, 400, "invalid_scope").await["error_description"].take()
            } else {
                problem(answer, 400, "invalid_scope").await["detail"].take()
            };
            assert!(text.as_str().unwrap().contains("8192 bytes (tokens.max_size)"), "{wire:?}: {text}");
        }
        assert_eq!(read_counts(&server).await, (0, 6));
        let explained = explain(&server, &key.value, json!({})).await;
        assert_eq!(
            (&explained["granted"], &explained["error"], &explained["reason"], &explained["expires_in"]),
            (&json!(false), &json!("invalid_scope"), &json!("token_size"), &Value::Null)
        );
        assert_eq!(read_counts(&server).await, (0, 6), "explain issues nothing");

        // None of the exchanges was counted, and a smaller scope is granted.
        let scope = long_names(40).join(" ");
        let explained = explain(&server, &key.value, json!({ "scope": scope })).await;
        assert_eq!((&explained["granted"], &explained["reason"]), (&json!(true), &Value::Null));
        let answer = server.exchange_for(&key.value, json!({ "scope": scope })).await;
        assert!(answer.headers()["ratelimit"].to_str().unwrap().contains("r=2"), "{:?}", answer.headers());
        let token = body_of(answer, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned();
        assert!((4097..8192).contains(&token.len()), "{}", token.len());
        assert_eq!(read_counts(&server).await, (1, 6));
        let small = server.exchange_for(&key.value, json!({ "scope": long_names(2).join(" ") })).await;
        assert_eq!(small.status(), StatusCode::OK);
        assert_eq!(read_counts(&server).await, (1, 6));
    }

    async fn no_status_is_stored_for_a_token_that_is_refused(server: Server) {
        let audience = server.audience("https://own.test/", None).await;
        let path = format!("/v1/audiences/{}", audience["id"].as_str().unwrap());
        server.manage("PATCH", &path, Some(json!({ "status": "token" })), 200).await;
        let key = key_with(&server, 80).await;
        let ask = async |permissions: usize| {
            let scope = long_names(permissions).join(" ");
            server.exchange_for(&key.value, json!({ "audience": "https://own.test/", "scope": scope })).await
        };
        assert_eq!(ask(2).await.status(), StatusCode::OK);
        // Without its table, the status of a token cannot be stored.
        server.database.sql("ALTER TABLE token_statuses RENAME TO elsewhere");
        assert!(ask(2).await.status().is_server_error());
        problem(ask(80).await, 400, "invalid_scope").await;
        assert_eq!(read_counts(&server).await, (0, 1));
    }

    async fn the_maximum_is_exact(server: Server) {
        let key = key_with(&server, 30).await;
        let size = server.fetch_token(&key.value).await.len();
        for (max_size, status) in [(size, StatusCode::OK), (size - 1, StatusCode::BAD_REQUEST)] {
            let setting = format!("tokens.max_size={max_size}");
            let replica = Server::on(Arc::clone(&server.database), &[setting.as_str()]).await;
            assert_eq!(replica.exchange(&key.value).await.status(), status, "{max_size} of {size}");
        }
    }

    async fn tokens_of_the_management_audience_fit_the_smallest_maximum(server: Server, "tokens.max_size=2048") {
        let request = server.post("/console/sign-in").header("keyswap-page", "console").json(&json!({ "key": server.admin }));
        assert!(request.send().await.unwrap().status().is_success());
        problem(server.exchange(&key_with(&server, 20).await.value).await, 400, "invalid_scope").await;
    }
}

async fn call(server: &Running, admin: &str, method: &str, path: &str, body: Value) -> Value {
    let answer = server.call(admin, method, path, Some(body)).await;
    assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    answer.json().await.unwrap()
}

each! {
    async fn a_large_token_is_logged_once(deployment: Deployment) {
        let server = deployment.serve();
        let admin = deployment.admin();
        let names = long_names(40);
        for name in &names {
            call(&server, &admin, "PUT", &format!("/v1/permissions/{name}"), json!({ "assignable_to": ["service_client"] })).await;
        }
        let body = json!({ "name": "large", "owner": { "type": "none" }, "permissions": names });
        let key = call(&server, &admin, "POST", "/v1/api-keys", body).await;
        let (_, small) = server.key(&admin).await;
        for _ in 0..3 {
            assert!(server.exchange_succeeds(key["value"].as_str().unwrap()).await);
            assert!(server.exchange_succeeds(&small).await);
        }
        let log = server.stop().err;
        let lines: Vec<_> = log.lines().filter(|line| line.contains("a token of more than 4096 bytes")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        for part in [key["id"].as_str().unwrap(), "scope", "fewer permissions", "bytes="] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
    }
}
