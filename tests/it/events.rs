//! The audit log as the API returns it.

use std::time::{Duration, Instant};

use keyswap::crypto::sha256_hex;
use serde_json::{Value, json};

use crate::support::both;
use crate::support::calls::plain_key;

both! {
    async fn hash_chain_is_verifiable_from_the_json(server: Server) {
        let key = server.client_key(&["a"]).await;
        for step in ["suspend", "resume", "revoke"] {
            server.step(&key, step).await;
        }
        let (mut prev, mut count) = ("0".repeat(64), 0);
        loop {
            // The raw response text is used, because the hash covers the exact JSON text of an
            // event.
            let answer = server.get(&format!("/v1/events?limit=4&after={count}")).bearer_auth(&server.admin).send().await.unwrap();
            let text = answer.text().await.unwrap();
            let page: Value = serde_json::from_str(&text).unwrap();
            let mut rest = text.strip_prefix("{\"data\":[").unwrap();
            for event in page["data"].as_array().unwrap() {
                count += 1;
                assert_eq!((&event["seq"], &event["prev_hash"]), (&json!(count), &json!(prev)));

                let length = end_of_object(rest);
                assert_eq!(serde_json::from_str::<Value>(&rest[..length]).unwrap(), *event);
                prev = sha256_hex(&rest.as_bytes()[..length]);
                rest = rest[length..].trim_start_matches(',');
            }
            if page["next"].is_null() {
                break;
            }
        }
        assert!(count > 10, "{count}");
        assert_eq!(keyswap::service::events::verify_audit_log(&server.services).await.unwrap(), count);
    }

    async fn events_are_filtered_by_type_actor_and_subject(server: Server) {
        let key = server.client_key(&["a_b"]).await;
        server.permissions(&["x:a_b"]).await;
        let other = server.client_key(&["keyswap:keys"]).await;
        server.step(&key, "suspend").await;
        let made = server.post("/v1/api-keys").bearer_auth(&other.value).json(&plain_key("a")).send().await.unwrap();
        assert_eq!(made.status(), 201);
        let of = async |filter: String| -> Vec<String> {
            let page = server.manage("GET", &format!("/v1/events?limit=100&{filter}"), None, 200).await;
            page["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
        };
        let both = ["api_key.created", "api_key.suspended"];
        assert_eq!(of(format!("subject={}", key.id)).await, both);
        assert_eq!(of(format!("subject=api_key:{}", key.id)).await, both);
        assert_eq!(of(format!("subject={}", key.client)).await, ["service_client.created"]);
        assert_eq!(of("subject=a_b".to_owned()).await, ["permission.created"], "and not that of x:a_b, which ends with it");
        assert_eq!(of(format!("actor={}", other.id)).await, ["api_key.created"]);
        assert_eq!(of(format!("actor={}&type=api_key.revoked", other.id)).await, [""; 0]);
        assert_eq!(of("type=api_key.suspended,api_key.resumed".to_owned()).await, ["api_key.suspended"]);
        assert!(of("actor=system".to_owned()).await.contains(&"signing_key.activated".to_owned()));
        for nothing in ["subject=%25", "subject=key%25", "actor=%25", "organization=x", "subject=key_"] {
            assert_eq!(of(nothing.to_owned()).await, [""; 0], "{nothing}");
        }
    }

    async fn reader_continues_from_its_cursor(server: Server) {
        server.client_key(&["a"]).await;
        let all = server.events().await;
        for after in [0, 3, all.len() - 1] {
            let page = server.manage("GET", &format!("/v1/events?limit=2&after={after}"), None, 200).await;
            let data = page["data"].as_array().unwrap();
            assert_eq!(data[..], all[after..(after + 2).min(all.len())]);
            let more = after + 2 < all.len();
            assert_eq!(page["next"], if more { json!((after + 2).to_string()) } else { json!(null) });
        }
    }

    async fn waiting_reader_receives_the_event(server: Server) {
        let last = server.events().await.len();
        let started = Instant::now();
        let empty = server.manage("GET", &format!("/v1/events?after={last}&wait=1s"), None, 200).await;
        assert_eq!(empty["data"], json!([]));
        assert!(started.elapsed() >= Duration::from_secs(1));
        let request = server.get(&format!("/v1/events?after={last}&wait=30s&type=permission.created")).bearer_auth(&server.admin);
        let asked = Instant::now();
        let reader = tokio::spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() });
        server.manage("POST", "/v1/service-clients", Some(json!({ "name": "not what it waits for" })), 201).await;
        let replica = server.replica().await;
        replica.permissions(&["a"]).await;
        let found = reader.await.unwrap();
        // A response to the other event would be empty.
        assert_eq!(found["data"].as_array().unwrap().len(), 1);
        assert_eq!(found["data"][0]["subject"], json!({ "type": "permission", "id": "a" }));
        assert!(asked.elapsed() < Duration::from_secs(30), "before its wait was over");
    }
}

/// The length of the JSON object at the beginning of `text`.
fn end_of_object(text: &str) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => depth += 1,
            b'}' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    panic!("no object")
}
