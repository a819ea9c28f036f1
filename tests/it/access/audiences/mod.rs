//! Token profiles of audiences, verified by a standard JWT library through the JWKS.

mod algorithms;
mod mapped_claims;
mod token_profiles;

use futures_util::future::join;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, body_of, both, calls::call, header_of, verify, wire::problem};

/// Creates an audience with the members of `body` and the given identifier.
async fn token_profile(server: &Server, identifier: &str, body: Value) -> Value {
    let mut body = body;
    body["identifier"] = json!(identifier);
    server.manage("POST", "/v1/audiences", Some(body), 201).await
}

fn path_of(audience: &Value) -> String {
    format!("/v1/audiences/{}", audience["id"].as_str().unwrap())
}

/// Exchanges a key for a token of the audience, verifies the token and returns its header and
/// claims.
async fn token_for(server: &Server, key: &str, audience: &str) -> (Value, Value) {
    let answer = server.exchange_for(key, json!({ "audience": audience })).await;
    let body = body_of(answer, StatusCode::OK).await;
    let token = body["access_token"].as_str().unwrap();
    (header_of(token), verify(server, token, audience).await)
}

/// Calls `/v1/exchange/explain` for these audiences.
async fn explained(server: &Server, key: &str, audiences: &[&str]) -> Value {
    let request = server.post("/v1/exchange/explain").bearer_auth(key).json(&json!({ "audience": audiences }));
    body_of(request.send().await.unwrap(), StatusCode::OK).await
}

both! {
    async fn two_creations_of_one_audience_at_the_same_time_conflict_by_the_identifier(server: Server) {
        for round in 0..10 {
            let identifier = format!("https://concurrent-{round}.test/");
            let body = json!({ "identifier": identifier });
            let create = || call(&server, &server.admin, "POST", "/v1/audiences", Some(body.clone()), &[]);
            let (one, other) = join(create(), create()).await;
            let (created, refused) = if one.status() == 201 { (one, other) } else { (other, one) };
            assert_eq!(created.status(), 201);
            let body = problem(refused, 409, "conflict").await;
            assert!(body["detail"].as_str().unwrap().contains(&identifier), "{body}");
        }
    }
}
