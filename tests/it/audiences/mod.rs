//! What the tokens of an audience look like, as its verifiers see them: with a stock library, through the JWKS.

mod algorithms;
mod claims;
mod shapes;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, body_of, header_of, verify};

/// An audience as `body` has it, besides its identifier.
async fn shaped(server: &Server, identifier: &str, body: Value) -> Value {
    let mut body = body;
    body["identifier"] = json!(identifier);
    server.manage("POST", "/v1/audiences", Some(body), 201).await
}

fn path_of(audience: &Value) -> String {
    format!("/v1/audiences/{}", audience["id"].as_str().unwrap())
}

/// Header and claims of a token for an audience; it must verify.
async fn token_for(server: &Server, key: &str, audience: &str) -> (Value, Value) {
    let answer = server.exchange_for(key, json!({ "audience": audience })).await;
    let body = body_of(answer, StatusCode::OK).await;
    let token = body["access_token"].as_str().unwrap();
    (header_of(token), verify(server, token, audience).await)
}

/// What explain says about these audiences.
async fn explained(server: &Server, key: &str, audiences: &[&str]) -> Value {
    let request = server.post("/v1/exchange/explain").bearer_auth(key).json(&json!({ "audience": audiences }));
    body_of(request.send().await.unwrap(), StatusCode::OK).await
}
