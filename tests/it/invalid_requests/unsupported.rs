//! What Keyswap does not support, or would have to ignore, is refused by name: DPoP at every operation that takes a
//! credential or issues a token, and parameters that resemble one that restricts the response.

use reqwest::StatusCode;
use serde_json::json;

use super::{
    stored_state,
    undocumented::{document, request},
};
use crate::{
    openapi::operations,
    support::{
        body_of, both,
        wire::{CLIENT_CREDENTIALS, IBM, Wire, exchange_of, form, oauth_error, problem},
    },
};

/// Pages and documents for everyone: they take no credential.
fn is_public(path: &str, method: &str) -> bool {
    let prefixes = ["/.well-known/", "/docs", "/openapi.json", "/portal/", "/console", "/widget/", "/assets/"];
    let documents = ["/healthz", "/readyz", "/v1/branding", "/v1/status-lists"];
    ["get", "head"].contains(&method)
        && (prefixes.iter().any(|prefix| path.starts_with(prefix)) || documents.iter().any(|one| path.starts_with(one)))
}

/// Misspelled names of parameters that restrict a response, each with the name that is meant.
const MISSPELLED: [(&str, &str); 16] = [
    ("scope[]", "scope"),
    ("scopes", "scope"),
    ("Scope", "scope"),
    ("SCOPE[0]", "scope"),
    ("audience[]", "audience"),
    ("audiences", "audience"),
    ("Audience", "audience"),
    ("aud", "audience"),
    ("resource[]", "resource"),
    ("resources", "resource"),
    ("Resource", "resource"),
    ("expiresIn", "expires_in"),
    ("Expires_In", "expires_in"),
    ("requested_token_types", "requested_token_type"),
    ("Authorization_Details", "authorization_details"),
    ("actor_token[]", "actor_token"),
];

both! {
    async fn dpop_is_refused_by_every_operation_that_takes_a_credential(server: Server) {
        let document = document(&server).await;
        let before = stored_state(&server).await;
        let mut refused = 0;
        for (path, method, operation) in operations(&document) {
            let at = format!("{method} {path}");
            let answer = request(&server, path, method, operation, "").header("dpop", "e30.e30.AA").send().await.unwrap();
            if is_public(path, method) {
                assert_ne!(answer.status(), 400, "{at}");
                continue;
            }
            refused += 1;
            assert_eq!(answer.status(), 400, "{at}");
            if method == "head" {
                continue;
            }
            let body = if path.starts_with("/oauth/") || path.starts_with("/identity/") {
                oauth_error(answer, 400, "invalid_request").await["error_description"].take()
            } else {
                problem(answer, 400, "bad_request").await["detail"].take()
            };
            assert!(body.as_str().unwrap().contains("DPoP"), "{at}: {body}");
        }
        assert!(refused > 60, "{refused} operations refuse DPoP");
        assert_eq!(stored_state(&server).await, before);
    }

    async fn a_parameter_that_resembles_a_restricting_one_is_refused(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let id = key.id.as_str();
        let grants = [
            vec![CLIENT_CREDENTIALS, ("client_id", id), ("client_secret", &key.value)],
            exchange_of(&key.value).to_vec(),
            vec![("grant_type", IBM), ("apikey", &key.value)],
        ];
        for (name, meant) in MISSPELLED {
            let refused = async |answer| {
                let body = oauth_error(answer, 400, "invalid_request").await;
                assert!(body["error_description"].as_str().unwrap().contains(meant), "{name}: {body}");
            };
            for value in ["", "projects:read"] {
                for path in ["/oauth/token", "/identity/token"] {
                    for grant in &grants {
                        let pairs = [&grant[..], &[(name, value)]].concat();
                        refused(form(server.post(path), &pairs).send().await.unwrap()).await;
                    }
                }
                for path in ["/oauth/introspect", "/oauth/revoke"] {
                    let pairs = [("token", key.value.as_str()), (name, value)];
                    refused(form(server.post(path).bearer_auth(&server.admin), &pairs).send().await.unwrap()).await;
                }
            }
            for (path, body) in [
                ("/v1/exchange", json!({ name: "a" })),
                ("/v1/exchange/explain", json!({ name: "a" })),
                ("/v1/api-keys/validate", json!({ "value": key.value, name: "a" })),
                ("/v1/access/check", json!({ "value": key.value, "permission": "a", name: "a" })),
            ] {
                let body = problem(server.post(path).bearer_auth(&server.admin).json(&body).send().await.unwrap(), 422, "invalid").await;
                assert_eq!(body["errors"][0]["field"], name, "{path}: {body}");
            }
        }
        // The key was not revoked, and unknown parameters are ignored (RFC 6749 section 3.2).
        for grant in &grants {
            let pairs = [&grant[..], &[("foo", "1"), ("scoped", "a"), ("username", "b")]].concat();
            body_of(server.token(&pairs).await, StatusCode::OK).await;
        }
    }

    async fn a_query_parameter_that_resembles_a_filter_of_a_public_document_is_refused(server: Server) {
        for query in ["Alg=ES256", "alg[]=ES256", "algs=ES256"] {
            oauth_error(server.get(&format!("/.well-known/jwks.json?{query}")).send().await.unwrap(), 400, "invalid_request").await;
        }
        body_of(server.get("/.well-known/jwks.json?v=1&time=2").send().await.unwrap(), StatusCode::OK).await;
        let list = "/v1/status-lists/lst_01JD8V3T6Q4Z9R7M2N5K8P1XYA";
        for query in ["Time=1", "time[]=1"] {
            problem(server.get(&format!("{list}?{query}")).send().await.unwrap(), 400, "bad_request").await;
        }
    }

    async fn authorization_details_are_refused_with_their_own_error(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for grant in [exchange_of(&key.value).to_vec(), vec![("grant_type", IBM), ("apikey", &key.value)]] {
            let pairs = [&grant[..], &[("authorization_details", r#"[{"type":"access"}]"#)]].concat();
            oauth_error(server.token(&pairs).await, 400, "invalid_authorization_details").await;
        }
    }

    async fn white_space_around_a_key_is_ignored_wherever_a_key_is_read(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for padded in [format!("{}\n", key.value), format!(" {}\r\n", key.value), format!("\t{}  ", key.value)] {
            for wire in [Wire::Basic, Wire::Body, Wire::TokenExchange, Wire::Ibm] {
                body_of(wire.request(&server, &padded).header("x-test", "1").send().await.unwrap(), StatusCode::OK).await;
            }
            let value = json!({ "value": padded });
            assert!(server.manage("POST", "/v1/api-keys/validate", Some(value), 200).await["api_key"].is_object());
            let answer = form(server.post("/oauth/introspect").bearer_auth(&server.admin), &[("token", &padded)]).send().await.unwrap();
            assert_eq!(body_of(answer, StatusCode::OK).await["active"], true);
        }
        // A header value cannot contain a line break.
        let padded = format!(" \t{}\t ", key.value);
        let plain = server.post("/v1/exchange").header("x-api-key", &padded);
        let bearer = server.post("/v1/exchange").header("authorization", format!("Bearer {padded}"));
        for request in [plain, bearer] {
            body_of(request.send().await.unwrap(), StatusCode::OK).await;
        }
        let revoked = form(server.post("/oauth/revoke").bearer_auth(&key.value), &[("token", &format!("{}\n", key.value))]);
        body_of(revoked.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(server.exchange(&key.value).await.status(), 401, "it was revoked");
    }

    async fn an_empty_credential_is_named_as_empty(server: Server) {
        for (name, value) in [("authorization", "Bearer "), ("authorization", "Bearer"), ("x-api-key", "")] {
            for request in [server.post("/v1/exchange"), server.get("/v1/api-keys")] {
                let body = problem(request.header(name, value).send().await.unwrap(), 401, "unauthorized").await;
                assert!(body["detail"].as_str().unwrap().contains("empty"), "{name}: {body}");
            }
        }
        for path in ["/oauth/introspect", "/oauth/revoke"] {
            let bearer = form(server.post(path).header("authorization", "Bearer "), &[("token", "x")]);
            let body = oauth_error(bearer.send().await.unwrap(), 401, "invalid_token").await;
            assert!(body["error_description"].as_str().unwrap().contains("empty"), "{body}");
        }
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
            let pairs = [CLIENT_CREDENTIALS, ("token", "x")];
            let basic = form(server.post(path).basic_auth("key_1", Some("")), &pairs);
            let body = oauth_error(basic.send().await.unwrap(), 401, "invalid_client").await;
            assert!(body["error_description"].as_str().unwrap().contains("empty"), "{body}");
        }
    }
}
