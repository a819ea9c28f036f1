//! Request bodies with an invalid media type, size, transfer rate or syntax.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stored_state;
use crate::support::{
    Raw, both,
    wire::{exchange_of, problem},
};

/// A raw request whose body may be shorter than its `Content-Length`.
fn short(path: &str, content_type: &str, admin: &str, announced: usize, sent: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {admin}\r\nContent-Type: {content_type}\r\nContent-Length: {announced}\r\n\r\n{sent}"
    )
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Asserts a complete error response with this status, in the error format of the path, that
/// closes the connection.
fn closed(answer: &str, status: u16, oauth: bool) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close"), "{answer}");
    let kind = if oauth { "content-type: application/json" } else { "content-type: application/problem+json" };
    assert!(head.contains(kind) && head.contains("cache-control: no-store"), "{answer}");
}

both! {
    async fn stalled_body_or_head_times_out_after_five_seconds(server: Server) {
        let before = stored_state(&server).await;
        let threads: Vec<_> = [
            (short("/oauth/token", FORM, "x", 100, "grant_type="), true),
            (short("/identity/token", FORM, "x", 100, ""), true),
            (short("/v1/exchange", JSON, &server.admin, 100, "{"), false),
            (short("/v1/api-keys", JSON, &server.admin, 100, "{\"name\":"), false),
            ("POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na=".to_owned(), true),
        ].into_iter().map(|(request, oauth)| {
            let base = server.base.clone();
            std::thread::spawn(move || {
                let started = Instant::now();
                let mut raw = Raw::open(&base);
                raw.send(request.as_bytes());
                // With a chunked body the HTTP library closes the connection only after the body
                // ends, so the test reads a single response.
                let answer = if request.contains("chunked") { raw.read_one() } else { raw.read_all() };
                closed(&answer, 408, oauth);
                let took = started.elapsed();
                assert!(took >= Duration::from_secs(4), "{took:?} {request}");
            })
        }).collect();
        // In parallel, a request whose head never ends. The read timeout of the client fails the
        // test if the server does not close the connection.
        let base = server.base.clone();
        let head = std::thread::spawn(move || {
            let mut raw = Raw::open(&base);
            raw.send(b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nX-Slow");
            let answer = raw.read_to_end().expect("the server closes the connection");
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        });
        tokio::task::spawn_blocking(move || for thread in threads.into_iter().chain([head]) { thread.join().unwrap() }).await.unwrap();
        assert_eq!(stored_state(&server).await, before);
    }

    async fn truncated_body_changes_nothing(server: Server) {
        let before = stored_state(&server).await;
        let whole = json!({ "name": "a", "owner": { "type": "none" } }).to_string();
        for request in [
            short("/v1/api-keys", JSON, &server.admin, whole.len() + 1, &whole),
            short("/v1/api-keys", JSON, &server.admin, 5000, &whole[..10]),
            short("/oauth/token", FORM, "x", 100, "grant_type=client_credentials"),
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(request.as_bytes());
            raw.finish();
            let answer = raw.read_all();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(!answer.contains("text/plain"), "{answer}");
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn too_large_body_is_refused_and_the_connection_closed(server: Server) {
        let before = stored_state(&server).await;
        let huge = 10_000_000_000_usize;
        for (path, content_type, limit, oauth) in [
            ("/oauth/token", FORM, 16 * 1024, true), ("/v1/exchange", JSON, 64 * 1024, false), ("/v1/service-clients", JSON, 64 * 1024, false),
        ] {
            let mut raw = Raw::open(&server.base);
            raw.send(short(path, content_type, &server.admin, huge, &"a".repeat(limit + 1)).as_bytes());
            closed(&raw.read_all(), 413, oauth);
        }
        // A body within the limit is read.
        let name = "a".repeat(16 * 1024 - 300);
        let pairs: Vec<_> = exchange_of(&server.admin).into_iter().chain([("foo", name.as_str())]).collect();
        assert_ne!(server.token(&pairs).await.status(), 413);
        assert_eq!(stored_state(&server).await, before);
    }

    async fn unsupported_media_type_is_415(server: Server) {
        let before = stored_state(&server).await;
        let body = json!({ "name": "a" }).to_string();
        for kind in ["text/plain", FORM, "application/json2", "application/json-patch+json", ""] {
            for (is_patch, request) in [(false, server.post("/v1/service-clients")), (true, server.http.patch(server.url("/v1/service-clients/svc_1"))),
                (false, server.http.put(server.url("/v1/permissions/a")))] {
                let request = request.bearer_auth(&server.admin).header("content-type", kind).body(body.clone());
                let answer = request.send().await.unwrap();
                let accepted = answer.headers().get("accept-patch").map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(accepted.as_deref(), is_patch.then_some("application/merge-patch+json, application/json"));
                problem(answer, 415, "unsupported_media_type").await;
            }
            // The media type of PATCH is not one of POST and PUT.
            for request in [server.post("/v1/service-clients"), server.http.put(server.url("/v1/permissions/a"))] {
                let request = request.bearer_auth(&server.admin).header("content-type", "application/merge-patch+json");
                problem(request.body(body.clone()).send().await.unwrap(), 415, "unsupported_media_type").await;
            }
        }
        let exchange = server.post("/v1/exchange").bearer_auth(&server.admin).body("{}");
        problem(exchange.send().await.unwrap(), 415, "unsupported_media_type").await;
        assert_eq!(stored_state(&server).await, before);
    }

    async fn json_is_parsed_strictly(server: Server) {
        let before = stored_state(&server).await;
        let deep = format!("{{\"name\":\"a\",\"metadata\":{}", "[".repeat(500));
        let nested = format!("{{\"name\":\"a\",\"metadata\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
        for (status, bodies) in [
            (400, vec!["", "{", "nul", "{\"name\":\"a\"}x", "{\"name\":\"a\"} {}", "\u{feff}{}", "{\"name\":\"a\",}", "{'name':'a'}", "{\"name\":NaN}",
                "{\"name\":\"\\ud800\"}", "{\"name\":\"a\0\"}", deep.as_str(), "{\"metadata\":{\"a\":1e999}}"]),
            (422, vec!["{}", "[]", "null", "1", "\"a\"", "{\"name\":1}", "{\"name\":null}", "{\"name\":\"\"}", "{\"name\":\" a\"}",
                "{\"name\":\"a\\u0000b\"}", "{\"name\":\"a\\u202eb\"}", "{\"name\":\"a\",\"name\":\"a\"}", "{\"name\":\"a\",\"no_such\":1}",
                "{\"name\":\"a\",\"metadata\":{\"a\":1,\"a\":2}}", "{\"name\":\"a\",\"metadata\":{\"b\":[{\"a\":1,\"a\":2}]}}",
                "{\"name\":\"a\",\"metadata\":[]}", "{\"name\":\"a\",\"permissions\":\"a\"}", "{\"name\":\"a\",\"permissions\":[\"a b\"]}",
                "{\"name\":\"a\",\"id\":\"svc_01\"}", "{\"name\":\"a\",\"owner\":{\"type\":\"user\",\"id\":\"u\"}}",
                "{\"name\":\"a\",\"owner\":{\"type\":\"account\",\"id\":\"u\"}}"]),
        ] {
            for body in bodies {
                let request = server.post("/v1/service-clients").bearer_auth(&server.admin).header("content-type", JSON);
                let answer = request.body(body.to_owned()).send().await.unwrap();
                let code = if status == 400 { "bad_request" } else { "invalid" };
                let found = answer.status();
                assert_eq!(found, status, "{body}");
                problem(answer, status, code).await;
            }
        }
        let request = server.post("/v1/service-clients").bearer_auth(&server.admin).header("content-type", JSON);
        assert!(request.body(nested).send().await.unwrap().status().is_client_error());
        let big = json!({ "name": "a", "metadata": { "a": "b".repeat(17 * 1024) } });
        server.manage("POST", "/v1/service-clients", Some(big), 422).await;
        assert_eq!(stored_state(&server).await, before);
    }

    async fn fault_is_named_without_echoing_the_value(server: Server) {
        let sent = json!({ "name": { "SECRET": 1 } });
        let answer = server.post("/v1/service-clients").bearer_auth(&server.admin).json(&sent).send().await.unwrap();
        let body = problem(answer, 422, "invalid").await;
        assert_eq!(body["errors"][0]["field"], "name");
        assert!(!body.to_string().contains("SECRET"), "{body}");
    }

    async fn invalid_conditions_and_idempotency_keys_are_400(server: Server) {
        let key = server.generic_key(&[]).await;
        let before = stored_state(&server).await;
        let patch = || server.http.patch(server.url(&format!("/v1/api-keys/{}", key.id))).bearer_auth(&server.admin).json(&json!({ "name": "b" }));
        for tag in ["1", "\"1", "W/1", "*, \"1\"", "\"1\" \"2\""] {
            for name in ["if-match", "if-none-match"] {
                let body = problem(patch().header(name, tag).send().await.unwrap(), 400, "bad_request").await;
                assert!(body["detail"].as_str().unwrap().to_ascii_lowercase().contains(name), "{body}");
            }
        }
        let create = || server.post("/v1/service-clients").bearer_auth(&server.admin).json(&json!({ "name": "b" }));
        for bad in ["", "a\tb", &"a".repeat(256)] {
            problem(create().header("idempotency-key", bad).send().await.unwrap(), 400, "bad_request").await;
        }
        problem(create().header("idempotency-key", "a").header("idempotency-key", "b").send().await.unwrap(), 400, "bad_request").await;
        assert_eq!(stored_state(&server).await, before);
    }
}
