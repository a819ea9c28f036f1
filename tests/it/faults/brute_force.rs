//! The brute-force limiter, and metrics whose labels do not depend on the input.

use std::collections::{BTreeMap, BTreeSet};

use keyswap::{
    crypto::random::SystemEntropy,
    domain::credentials::format::{ApiKeyValue, PresentedKey, Secret},
};
use reqwest::{Response, StatusCode};
use serde_json::json;

use super::process::{LONG, until};
use crate::{
    introspection::MANAGEMENT,
    portal::key_management::{people, session},
    support::{Key, Server, body_of, both, calls::call, wire::form},
};

/// The same credential id with another secret.
fn wrong(key: &str) -> String {
    let known = PresentedKey::parse(key).unwrap();
    let secret = Secret::generate(&SystemEntropy::default()).unwrap();
    ApiKeyValue::format(&known.prefix, &known.credential_id, &secret).expose().to_owned()
}

/// A well-formed key that was never issued.
fn unknown(id: &str) -> String {
    let secret = Secret::generate(&SystemEntropy::default()).unwrap();
    ApiKeyValue::format(&"ks".parse().unwrap(), &id.parse().unwrap(), &secret).expose().to_owned()
}

async fn from(server: &Server, address: &str, key: &str) -> Response {
    server.post("/v1/exchange").bearer_auth(key).header("x-forwarded-for", address).send().await.unwrap()
}

/// A response as a client sees it, without its request id and its date.
async fn seen(answer: Response) -> (StatusCode, Vec<(String, String)>, String) {
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers = headers.filter(|(name, _)| name != "date" && name != "x-request-id").collect();
    (answer.status(), headers, answer.text().await.unwrap())
}

/// All ways to present a right credential, each with the status of its success.
async fn present_everywhere(server: &Server, key: &Key, session: &str) -> Vec<(&'static str, StatusCode)> {
    let value = key.value.as_str();
    let management = server.exchange_for(&server.admin, json!({ "audience": MANAGEMENT })).await;
    let management = body_of(management, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned();
    let subject_type = "urn:keyswap:params:oauth:token-type:api-key";
    let token_exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", value),
        ("subject_token_type", subject_type),
    ];
    let client_credentials = [("grant_type", "client_credentials"), ("client_id", &key.id), ("client_secret", value)];
    let ibm = [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", value)];
    let validate = json!({ "value": value });
    let responses = [
        ("bearer", server.exchange(value).await),
        ("X-API-Key", server.post("/v1/exchange").header("x-api-key", value).send().await.unwrap()),
        ("explain", server.post("/v1/exchange/explain").bearer_auth(value).send().await.unwrap()),
        ("client_credentials", server.token(&client_credentials).await),
        ("token exchange", server.token(&token_exchange).await),
        ("IBM", server.token(&ibm).await),
        ("management by key", call(server, &server.admin, "GET", "/v1/api-keys", None, &[]).await),
        ("management by token", call(server, &management, "GET", "/v1/api-keys", None, &[]).await),
        ("management by session", call(server, session, "GET", "/v1/api-keys", None, &[]).await),
        ("validation", call(server, &server.admin, "POST", "/v1/api-keys/validate", Some(validate), &[]).await),
        (
            "introspection",
            form(server.post("/oauth/introspect").bearer_auth(&server.admin), &[("token", value)])
                .send()
                .await
                .unwrap(),
        ),
    ];
    responses.map(|(form, response)| (form, response.status())).into()
}

both! {
    async fn correct_credentials_are_never_refused_because_of_wrong_ones(
        server: Server, "brute_force.per_source=5", "brute_force.per_credential=5", "brute_force.refill=60s"
    ) {
        people(&server).await;
        let session = session(&server, "self", "acme").await;
        let key = server.generic_key(&["projects:read"]).await;
        let revoked = server.generic_key(&[]).await;
        server.step(&revoked, "revoke").await;
        let attempts = [
            wrong(&key.value), wrong(&server.admin), wrong(&session), revoked.value, unknown("abcdefghijkl0123"), "malformed".to_owned(),
        ];
        let mut statuses = BTreeMap::new();
        for _ in 0..10 {
            for attempt in &attempts {
                for response in [
                    server.exchange(attempt).await,
                    server.token(&[("grant_type", "client_credentials"), ("client_id", &key.id), ("client_secret", attempt)]).await,
                    call(&server, attempt, "GET", "/v1/api-keys", None, &[]).await,
                ] {
                    assert_eq!(response.status() == 429, response.headers().contains_key("retry-after"));
                    *statuses.entry(response.status().as_u16()).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(statuses, BTreeMap::from([(401, 5), (429, 175)]), "five failures of the address, from all of its credentials");
        for (form, status) in present_everywhere(&server, &key, &session).await {
            assert_eq!(status, 200, "{form}");
        }
    }

    async fn values_presented_by_others_are_never_throttled(
        server: Server, "brute_force.per_source=2", "brute_force.per_credential=2", "brute_force.refill=60s"
    ) {
        let (service, attacked) = (server.client_key(&["keyswap:validate"]).await, server.generic_key(&[]).await);
        let guesses = [wrong(&attacked.value), unknown("abcdefghijkl0123"), "malformed".to_owned()];
        for turn in 0..5 {
            for guess in &guesses {
                let body = Some(json!({ "value": guess }));
                let validated = call(&server, &service.value, "POST", "/v1/api-keys/validate", body, &[]).await;
                assert_eq!(body_of(validated, StatusCode::OK).await["api_key"], json!(null), "{turn}");
                let ask = async |path: &str| form(server.post(path).bearer_auth(&service.value), &[("token", guess)]).send().await.unwrap();
                assert_eq!(body_of(ask("/oauth/introspect").await, StatusCode::OK).await, json!({ "active": false }), "{turn}");
                assert_eq!(ask("/oauth/revoke").await.status(), 200, "{turn}");
            }
        }
        assert_eq!(server.exchange(&wrong(&attacked.value)).await.status(), 401, "the service has spent no budget");
        assert_eq!(server.exchange(&attacked.value).await.status(), 200);
    }

    async fn only_failures_of_the_attacking_source_are_throttled(
        server: Server, "brute_force.per_source=5", "brute_force.refill=2s", "server.trusted_proxies=[\"127.0.0.0/8\"]"
    ) {
        let key = server.generic_key(&[]).await;
        for turn in 0..5 {
            assert_eq!(from(&server, "192.0.2.1", &wrong(&key.value)).await.status(), 401, "{turn}");
        }
        let refused = from(&server, "192.0.2.1", &wrong(&key.value)).await;
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(from(&server, "192.0.2.1", &key.value).await.status(), 200);
        assert_eq!(from(&server, "192.0.2.2", "ks_malformed").await.status(), 401, "another source has its own budget");
        // The last address that is not a trusted proxy counts. A client can forge the addresses
        // before it.
        assert_eq!(from(&server, "203.0.113.9, 192.0.2.1", "ks_malformed").await.status(), 429);
        assert_eq!(from(&server, "192.0.2.1, 192.0.2.3", "ks_malformed").await.status(), 401);
        until("the budget refills", LONG, || async {
            from(&server, "192.0.2.1", "ks_malformed").await.status() == 401
        })
        .await;
    }

    async fn forwarded_address_is_ignored_without_a_trusted_proxy(
        server: Server, "brute_force.per_source=5", "brute_force.refill=10s"
    ) {
        for turn in 0..5 {
            assert_eq!(from(&server, &format!("192.0.2.{turn}"), "ks_malformed").await.status(), 401);
        }
        assert_eq!(from(&server, "192.0.2.77", "ks_malformed").await.status(), 429);
        assert_eq!(server.exchange("ks_malformed").await.status(), 429);
    }

    async fn unknown_and_revoked_keys_use_the_same_budget(
        server: Server, "brute_force.per_credential=3", "brute_force.refill=60s", "server.trusted_proxies=[\"127.0.0.0/8\"]"
    ) {
        let revoked = server.generic_key(&[]).await;
        let suspended = server.generic_key(&[]).await;
        let attacked = server.generic_key(&[]).await;
        server.step(&revoked, "revoke").await;
        server.step(&suspended, "suspend").await;
        let keys = [unknown("abcdefghijkl0123"), revoked.value, suspended.value, wrong(&attacked.value)];
        let mut answers: Vec<Vec<_>> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let mut all = Vec::new();
            for _ in 0..5 {
                let (status, mut headers, body) = seen(from(&server, &format!("198.51.100.{place}"), key).await).await;
                // `Retry-After` counts from the first failure, so it depends on the test's own
                // speed.
                headers.retain(|(name, _)| name != "retry-after" || status != 429);
                // The HTTP library sends headers in an arbitrary order.
                headers.sort();
                all.push((status, headers, body));
            }
            answers.push(all);
        }
        let statuses: Vec<_> = answers[0].iter().map(|(status, ..)| status.as_u16()).collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429]);
        for other in &answers[1..] {
            assert_eq!(other, &answers[0]);
        }
    }

    async fn metric_labels_do_not_depend_on_input(server: Server) {
        let key = server.generic_key(&["projects:read"]).await;
        server.step(&server.generic_key(&[]).await, "revoke").await;
        for odd in ["", "x", "ks_{}\"\n", &wrong(&key.value), &unknown("abcdefghijkl0123"), &key.value] {
            let Ok(value) = odd.parse::<reqwest::header::HeaderValue>() else { continue };
            let request = server.post("/v1/exchange").header("x-api-key", value).header("user-agent", "\"evil{}");
            request.send().await.unwrap();
            let (id, secret) = (("client_id", odd), ("client_secret", odd));
            server.token(&[("grant_type", "client_credentials"), id, secret]).await;
            server.token(&[("grant_type", odd), id, secret, ("scope", "a\"b")]).await;
            server.exchange_for(&key.value, serde_json::json!({ "scope": "not:held", "audience": "urn:odd" })).await;
            let method = format!("X{}", odd.len()).parse().unwrap();
            server.http.request(method, server.url("/v1/exchange")).send().await.unwrap();
            server.get(&format!("/{}?a=b", odd.len())).send().await.unwrap();
        }
        let metrics = server.get("/metrics").header("accept", "application/openmetrics-text").bearer_auth(&server.admin);
        let text = metrics.send().await.unwrap().text().await.unwrap();
        assert!(text.ends_with("# EOF\n"));
        let forms = ["client_credentials", "token_exchange", "ibm_api_key", "exchange", "explain", "management", "validation"];
        let results = [
            "granted", "malformed", "unknown", "secret_mismatch", "revoked", "expired", "suspended", "owner_blocked", "owner_deleted",
            "client_mismatch", "opener_not_authorized", "forged", "altered", "scope", "target", "throttled", "limited", "unavailable", "internal", "issued", "refused", "applied",
        ];
        let mut found = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((_, rest)) = line.split_once('{') else { continue };
            for pair in rest.split_once('}').unwrap().0.split(',') {
                let (name, value) = pair.split_once("=\"").unwrap();
                let value = value.strip_suffix('"').unwrap();
                let ours = match name {
                    "form" => forms.contains(&value),
                    "result" => results.contains(&value),
                    "status" => value.len() == 3 && value.parse::<u16>().is_ok(),
                    "algorithm" => value.parse::<keyswap::domain::signing::Algorithm>().is_ok(),
                    "job" | "state" | "step" | "reason" | "table" => value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                    "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                    _ => false,
                };
                assert!(ours, "{line}");
                found.insert(value.to_owned());
            }
        }
        for seen in ["exchange", "client_credentials", "granted", "malformed", "unknown", "secret_mismatch", "target", "401", "405"] {
            assert!(found.contains(seen), "{seen}: {found:?}");
        }
    }
}
