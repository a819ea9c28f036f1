//! `POST /oauth/introspect` (RFC 7662, RFC 9701): callers, active tokens and keys, and one
//! identical response for everything that is not active.

mod answers;
mod callers;
mod inactive;
pub mod revoke;
mod signed;
pub mod validate;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, body_of, wire::form};

pub const PATH: &str = "/oauth/introspect";
pub const MANAGEMENT: &str = "http://keyswap.test/v1";

/// Introspects a token with a bearer credential.
pub async fn send_request(server: &Server, bearer: &str, token: &str) -> Response {
    form(server.post(PATH).bearer_auth(bearer), &[("token", token)]).send().await.unwrap()
}

/// Introspects a token as the administrator.
pub async fn introspected(server: &Server, token: &str) -> Value {
    body_of(send_request(server, &server.admin, token).await, StatusCode::OK).await
}

pub async fn is_active(server: &Server, token: &str) -> bool {
    introspected(server, token).await["active"].as_bool().unwrap()
}

pub fn inactive() -> Value {
    json!({ "active": false })
}

pub async fn token(server: &Server, key: &str, request: Value) -> String {
    let body = body_of(server.exchange_for(key, request).await, StatusCode::OK).await;
    body["access_token"].as_str().unwrap().to_owned()
}

/// Whether introspection, validation, the access check and the management API accept a
/// key's tokens, in this order. `product` is a token for the default audience,
/// `management` one for `/v1`.
pub async fn accepted_at_v1(server: &Server, product: &str, management: &str) -> [bool; 4] {
    let value = json!({ "value": product });
    let validated = server.manage("POST", "/v1/api-keys/validate", Some(value), 200).await["api_key"].is_object();
    let question = json!({ "value": product, "permission": "a", "resource": "/x" });
    let allowed = server.manage("POST", "/v1/access/check", Some(question), 200).await["allowed"].as_bool().unwrap();
    let called = server.get("/v1/events?limit=1").bearer_auth(management).send().await.unwrap().status();
    assert!([200, 401].contains(&called.as_u16()), "{called}");
    [is_active(server, product).await, validated, allowed, called == 200]
}

/// Creates a key whose tokens are accepted everywhere in `accepted_at_v1`, and returns it with a token for
/// the default audience and one for the management audience.
pub async fn at_every_endpoint(server: &Server) -> (crate::support::Key, String, String) {
    let key = server.client_key(&["a", "keyswap:events"]).await;
    if server.http.get(server.url("/v1/roles/a")).bearer_auth(&server.admin).send().await.unwrap().status() == 404 {
        server.role("a", &["a"]).await;
    }
    let record = json!({
        "name": "a record", "principals": [{ "type": "api_key", "id": key.id }],
        "statements": [{ "roles": ["a"], "resources": ["/x"] }],
    });
    server.manage("POST", "/v1/access-records", Some(record), 201).await;
    let (product, management) = tokens(server, &key.value).await;
    assert_eq!(accepted_at_v1(server, &product, &management).await, [true; 4]);
    (key, product, management)
}

pub async fn tokens(server: &Server, key: &str) -> (String, String) {
    (token(server, key, json!({ "scope": "a" })).await, token(server, key, json!({ "audience": MANAGEMENT })).await)
}
