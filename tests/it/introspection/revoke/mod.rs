//! `POST /oauth/revoke` (RFC 7009): revocation of keys and tokens by their holder and by
//! other authorized callers.

mod conflicts;
mod effects;
mod refusals;

use reqwest::Response;
use serde_json::Value;

use crate::support::{Server, wire::form};

pub const PATH: &str = "/oauth/revoke";

pub async fn revoked(server: &Server, bearer: &str, token: &str) -> Response {
    form(server.post(PATH).bearer_auth(bearer), &[("token", token)]).send().await.unwrap()
}

/// Revokes a token and asserts an empty response with status 200.
pub async fn revoke(server: &Server, bearer: &str, token: &str) {
    let answer = revoked(server, bearer, token).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.text().await.unwrap(), "");
}

/// The events of a type that concern a key.
pub async fn events_of(server: &Server, kind: &str, key: &str) -> Vec<Value> {
    let events = server.events().await;
    events.into_iter().filter(|event| event["type"] == kind && event["subject"]["id"] == key).collect()
}
