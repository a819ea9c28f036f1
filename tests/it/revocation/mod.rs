//! `POST /oauth/revoke` (RFC 7009): keys and tokens, ended by those who hold them and by those who may end them.

mod ends;
mod refusals;

use reqwest::Response;
use serde_json::Value;

use crate::support::{Server, wire::form};

pub const PATH: &str = "/oauth/revoke";

pub async fn revoked(server: &Server, bearer: &str, token: &str) -> Response {
    form(server.post(PATH).bearer_auth(bearer), &[("token", token)]).send().await.unwrap()
}

/// The answer must be 200, with nothing in it.
pub async fn revoke(server: &Server, bearer: &str, token: &str) {
    let answer = revoked(server, bearer, token).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.text().await.unwrap(), "");
}

/// The events of a kind about a key.
pub async fn told(server: &Server, kind: &str, key: &str) -> Vec<Value> {
    let events = server.events().await;
    events.into_iter().filter(|event| event["type"] == kind && event["subject"]["id"] == key).collect()
}
