//! RFC 8707: resource indicators.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    body_of, both, verify,
    wire::{exchange_of, oauth_error},
};

both! {
    // Requirements: 8707-01.
    async fn resource_must_be_a_known_permitted_absolute_uri(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.audience("https://a.test/", None).await;
        server.audience("https://b.test/", None).await;
        server.audience("name", None).await;
        let ask = async |resource: &str| {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().chain([("resource", resource)]).collect();
            server.token(&pairs).await
        };
        let body = body_of(ask("https://a.test/").await, StatusCode::OK).await;
        let claims = verify(&server, body["access_token"].as_str().unwrap(), "https://a.test/").await;
        assert_eq!(claims["aud"], "https://a.test/");
        for bad in ["https://a.test/#part", "https://a.test/#", "/a", "a.test", "name", "//a.test/", "https://a.test", "HTTPS://a.test/",
            "https://a.test/ ", "https://a.test/\"", "https://ä.test/", "https:"] {
            oauth_error(ask(bad).await, 400, "invalid_target").await;
        }
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "audiences": ["https://a.test/"] })), 200).await;
        body_of(ask("https://a.test/").await, StatusCode::OK).await;
        oauth_error(ask("https://b.test/").await, 400, "invalid_target").await;
        oauth_error(server.token(&exchange_of(&key.value)).await, 400, "invalid_target").await;
    }

    // Requirements: 8707-02.
    async fn token_is_valid_only_at_requested_resources(server: Server) {
        let uris: Vec<_> = (0..4).map(|i| format!("https://{i}.test/")).collect();
        for uri in &uris {
            server.audience(uri, None).await;
        }
        let everywhere = server.client_key(&["projects:read"]).await;
        let limited = server.client_key(&["projects:read"]).await;
        server.manage("PATCH", &format!("/v1/api-keys/{}", limited.id), Some(json!({ "audiences": uris[..2] })), 200).await;
        let strategy = (prop::collection::vec(0..4_usize, 0..5), any::<bool>(), prop::collection::vec(any::<bool>(), 5));
        let mut runner = TestRunner::default();
        for _ in 0..60 {
            let (asked, is_limited, as_audience) = strategy.new_tree(&mut runner).unwrap().current();
            let key = if is_limited { &limited } else { &everywhere };
            let mut pairs = exchange_of(&key.value).to_vec();
            for (target, audience) in asked.iter().zip(as_audience) {
                pairs.push((if audience { "audience" } else { "resource" }, &uris[*target]));
            }
            let answer = server.token(&pairs).await;
            if is_limited && (asked.is_empty() || asked.iter().any(|target| *target > 1)) {
                oauth_error(answer, 400, "invalid_target").await;
                continue;
            }
            let body = body_of(answer, StatusCode::OK).await;
            let expected: BTreeSet<_> = if asked.is_empty() {
                ["http://keyswap.test".to_owned()].into()
            } else {
                asked.iter().map(|target| uris[*target].clone()).collect()
            };
            let claims = verify(&server, body["access_token"].as_str().unwrap(), expected.first().unwrap()).await;
            let found: BTreeSet<_> = match &claims["aud"] {
                Value::String(one) => [one.clone()].into(),
                several => serde_json::from_value(several.clone()).unwrap(),
            };
            assert_eq!(found, expected);
        }
    }
}
