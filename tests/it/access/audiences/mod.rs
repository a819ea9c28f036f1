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

    async fn identifier_that_looks_like_another_is_refused_and_named(server: Server) {
        let own = server.services.issuer().to_owned();
        server.audience("https://api.example.com", None).await;
        server.audience("orders", None).await;
        for (similar, existing) in [
            ("https://api.example.com/", "https://api.example.com"), ("https://API.example.com", "https://api.example.com"),
            ("https://api.example.com:443", "https://api.example.com"), ("HTTPS://api.example.com", "https://api.example.com"),
            ("Orders", "orders"), ("orders/", "orders"), (&format!("{own}/"), own.as_str()),
        ] {
            let refused = server.manage("POST", "/v1/audiences", Some(json!({ "identifier": similar })), 409).await;
            assert!(refused["detail"].as_str().unwrap().contains(&format!("the audience {existing} differs only")), "{refused}");
        }
        for other in ["http://api.example.com", "https://api.example.com:8443", "https://api.example.com/v1", "order"] {
            server.audience(other, None).await;
        }
        // Of two at once, one is created.
        for round in 0..10 {
            let create = |slash: &str| {
                let body = json!({ "identifier": format!("https://concurrent-{round}.test{slash}") });
                let server = &server;
                async move { call(server, &server.admin, "POST", "/v1/audiences", Some(body), &[]).await.status().as_u16() }
            };
            let (one, other) = join(create(""), create("/")).await;
            assert_eq!([one.min(other), one.max(other)], [201, 409]);
        }
    }

    async fn explain_names_the_audience_that_was_meant(server: Server) {
        server.audience("https://api.example.com", None).await;
        server.audience("https://other.example.com", None).await;
        let key = server.generic_key(&["a"]).await;
        let answer = explained(&server, &key.value, &["https://API.example.com:443/"]).await;
        assert_eq!((&answer["error"], &answer["reason"]), (&json!("invalid_target"), &json!("unknown")));
        assert_eq!(answer["similar_audiences"], json!(["https://api.example.com"]));
        let answer = explained(&server, &key.value, &["https://api.example.com"]).await;
        assert_eq!((&answer["granted"], &answer["similar_audiences"]), (&json!(true), &json!([])));
        assert_eq!(explained(&server, &key.value, &["https://nothing.example.com"]).await["similar_audiences"], json!([]));

        // An audience that the key may not use is not disclosed.
        let body = json!({ "audiences": ["https://other.example.com"] });
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(body), 200).await;
        let answer = explained(&server, &key.value, &["https://api.example.com/"]).await;
        assert_eq!((&answer["error"], &answer["similar_audiences"]), (&json!("invalid_target"), &json!([])));
        // The list of a key names it too.
        let body = json!({ "audiences": ["https://api.example.com/"] });
        let refused = server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(body), 422).await;
        let message = "there is no audience https://api.example.com/: did you mean https://api.example.com?";
        assert_eq!(refused["errors"][0]["message"], message);
    }
}
