//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): on every operation that creates
//! an object with an id of its own, or shows a secret.

use reqwest::{Method, Response};
use serde_json::Value;

use super::{
    Differences, Operation, header, operations, over_operations,
    subjects::{Body, Subject},
};
use crate::support::{Server, calls::events_after};

/// The operations that accept the header. Every other one ignores it, because a repetition is
/// harmless there, or creates nothing that lasts.
const ACCEPTING: [&str; 8] = [
    "POST /v1/access-records",
    "POST /v1/api-keys",
    "POST /v1/api-keys/{id}/rotate",
    "POST /v1/audiences",
    "POST /v1/portal-sessions",
    "POST /v1/service-clients",
    "POST /v1/webhooks",
    "POST /v1/webhooks/{id}/rotate-secret",
];

/// Members that contain a secret, wherever they are.
const SECRETS: [&str; 4] = ["value", "secret", "token", "url"];

/// Removes the secrets from an answer and returns how many there were.
fn take_secrets(template: &str, body: &mut Value) -> usize {
    let Value::Object(members) = body else { return 0 };
    // The URL of a webhook is no secret.
    let is_secret = |name: &str| SECRETS.contains(&name) && !(name == "url" && template.contains("webhooks"));
    let before = members.len();
    members.retain(|name, _| !is_secret(name));
    let taken = before - members.len();
    let of_key = members.remove("api_key").map_or(0, |mut key| take_secrets(template, &mut key));
    taken + of_key
}

async fn send(server: &Server, subject: &Subject, key: &str) -> Response {
    subject.request(server).header("idempotency-key", key).send().await.unwrap()
}

fn accepts(operation: &Operation) -> bool {
    ACCEPTING.contains(&operation.name.as_str())
}

over_operations! {
    async fn a_replay_answers_the_object_without_its_secret(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| accepts(one)) {
            let subject = Subject::new(&server, operation).await;
            let events = server.events().await.len();
            let first = send(&server, &subject, &operation.name).await;
            let (status, replayed) = (first.status().to_string(), header(&first, "idempotency-replayed"));
            differences.check(operation, "first", "", &replayed);
            let mut first: Value = first.json().await.unwrap();
            let secrets = take_secrets(&operation.template, &mut first);
            let made = events_after(&server, events).await;
            for form in [operation.name.clone(), format!("\"{}\"", operation.name)] {
                let replay = send(&server, &subject, &form).await;
                differences.check(operation, &format!("{form}: status"), &status, &replay.status().to_string());
                differences.check(operation, &format!("{form}: replayed"), "true", &header(&replay, "idempotency-replayed"));
                let mut replay: Value = replay.json().await.unwrap();
                let shown = take_secrets(&operation.template, &mut replay);
                differences.check(operation, &format!("{form}: secrets of {secrets}"), "0", &shown.to_string());
                differences.check(operation, &format!("{form}: body"), &first.to_string(), &replay.to_string());
            }
            let after = events_after(&server, events).await;
            differences.check(operation, "events", &format!("{made:?}"), &format!("{after:?}"));
        }
        differences.assert_none(80);
    }
}

over_operations! {
    async fn requests_at_once_make_one_credential(server: Server) {
        let mut differences = Differences::default();
        let replica = server.replica().await;
        for operation in operations(&server).await.iter().filter(|one| accepts(one)) {
            let subject = Subject::new(&server, operation).await;
            let events = server.events().await.len();
            let key = format!("at once, {}", operation.name);
            let all = (0..8).map(|at| send(if at % 2 == 0 { &server } else { &replica }, &subject, &key));
            let (mut firsts, mut others) = (0, Vec::new());
            for answer in futures_util::future::join_all(all).await {
                let replayed = header(&answer, "idempotency-replayed") == "true";
                let status = answer.status().as_u16();
                let body: Value = answer.json().await.unwrap();
                match (status, replayed) {
                    (200 | 201, false) => firsts += 1,
                    (200 | 201, true) => {}
                    (409, _) if body["code"] == "in_flight" => {}
                    _ => others.push(body),
                }
            }
            differences.check(operation, "answers with the secret", "1", &firsts.to_string());
            differences.check(operation, "other answers", "[]", &format!("{others:?}"));
            let kinds = events_after(&server, events).await;
            let unique: std::collections::BTreeSet<_> = kinds.iter().collect();
            differences.check(operation, "one of each event", &unique.len().to_string(), &kinds.len().to_string());
        }
        differences.assert_none(24);
    }
}

over_operations! {
    async fn one_key_is_for_one_request(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await.iter().filter(|one| accepts(one)) {
            let mut subject = Subject::new(&server, operation).await;
            assert!(send(&server, &subject, &operation.name).await.status().is_success());
            let mut other = Subject::new(&server, operation).await;
            if matches!(other.body, Body::None) {
                other.body = Body::Json(serde_json::json!({}));
            }
            let answer = send(&server, &other, &operation.name).await;
            differences.check(operation, "another request", "422", answer.status().as_str());
            for bad in ["", "\"\"", "\"a", "\"a\"b\"", "\"a\\b\"", "a\tb", &"a".repeat(256)] {
                let answer = send(&server, &subject, bad).await;
                differences.check(operation, &format!("{bad:?}"), "400", answer.status().as_str());
            }
            // The escapes of a structured string, and the same key bare.
            subject = Subject::new(&server, operation).await;
            let quoted = send(&server, &subject, &format!("\"a\\\"b\\\\{}\"", operation.name)).await;
            let bare = send(&server, &subject, &format!("a\"b\\{}", operation.name)).await;
            differences.check(operation, "escapes", "", &header(&quoted, "idempotency-replayed"));
            differences.check(operation, "the same key bare", "true", &header(&bare, "idempotency-replayed"));
        }
        differences.assert_none(80);
    }
}

over_operations! {
    async fn an_operation_that_creates_nothing_ignores_the_header(server: Server) {
        let mut differences = Differences::default();
        for operation in operations(&server).await {
            let is_documented = operation.has_header("Idempotency-Key").to_string();
            differences.check(&operation, "is documented", &accepts(&operation).to_string(), &is_documented);
            if accepts(&operation) {
                continue;
            }
            let subject = Subject::new(&server, &operation).await;
            let expected = if subject.operation.method == Method::GET { 200 } else { 0 };
            let answer = send(&server, &subject, "").await;
            let status = answer.status();
            assert!(expected == 0 || status.as_u16() == expected || status.is_success(), "{}", operation.name);
            differences.check(&operation, "succeeds", "true", &status.is_success().to_string());
            differences.check(&operation, "replayed", "", &header(&answer, "idempotency-replayed"));
        }
        differences.assert_none(200);
    }
}
