//! Unknown or unavailable grant types, scopes and audiences.

use serde_json::json;

use super::stored_state;
use crate::support::{
    Server, both,
    wire::{IBM, TOKEN_EXCHANGE, Wire, client_id, exchange_of, form, oauth_error, problem},
};

const FORMS: [Wire; 4] = [Wire::Basic, Wire::Body, Wire::TokenExchange, Wire::Ibm];

/// Sends a request in one form of the token endpoint, with extra parameters.
async fn ask(server: &Server, wire: Wire, key: &str, extra: &[(&str, &str)]) -> reqwest::Response {
    let id = client_id(key);
    let (path, mut pairs) = match wire {
        Wire::Ibm => ("/identity/token", vec![("grant_type", IBM), ("apikey", key)]),
        Wire::TokenExchange => ("/oauth/token", exchange_of(key).to_vec()),
        _ => ("/oauth/token", vec![("grant_type", "client_credentials")]),
    };
    pairs.extend_from_slice(extra);
    let mut request = server.post(path);
    if wire == Wire::Basic {
        request = request.basic_auth(&id, Some(key));
    } else if wire == Wire::Body {
        pairs.extend([("client_id", id.as_str()), ("client_secret", key)]);
    }
    form(request, &pairs).send().await.unwrap()
}

both! {
    async fn invalid_scope_is_answered_in_every_request_form(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let before = stored_state(&server).await;
        for scope in ["projects:write", "projects:read projects:write", "a\"b", "a\tb", " ", "é", "a  b"] {
            for wire in FORMS {
                oauth_error(ask(&server, wire, &key.value, &[("scope", scope)]).await, 400, "invalid_scope").await;
            }
            problem(server.exchange_for(&key.value, json!({ "scope": scope })).await, 400, "invalid_scope").await;
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn invalid_audience_is_invalid_target_in_every_request_form(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        server.audience("https://a.test/", None).await;
        server.audience("https://b.test/", None).await;
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "audiences": ["https://a.test/"] })), 200).await;
        let before = stored_state(&server).await;
        for audience in ["https://unknown.test/", "https://b.test/", "http://keyswap.test/v1", "a\"b", "a b", "https://a.test/#x", "é"] {
            for wire in FORMS {
                for name in ["audience", "resource"] {
                    let answer = ask(&server, wire, &key.value, &[(name, audience)]).await;
                    oauth_error(answer, 400, "invalid_target").await;
                }
            }
        }
        for audience in [json!("https://unknown.test/"), json!(["https://a.test/", "https://b.test/"])] {
            problem(server.exchange_for(&key.value, json!({ "audience": audience })).await, 400, "invalid_target").await;
        }
        // A request without an audience targets the default audience, which this key does not
        // allow.
        for wire in FORMS {
            oauth_error(ask(&server, wire, &key.value, &[]).await, 400, "invalid_target").await;
        }
        assert_eq!(stored_state(&server).await, before);
    }

    async fn repeated_and_empty_parameters_are_handled(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        for wire in FORMS {
            let twice = ask(&server, wire, &key.value, &[("scope", "projects:read"), ("scope", "projects:read")]).await;
            oauth_error(twice, 400, "invalid_request").await;
            let empty = ask(&server, wire, &key.value, &[("scope", ""), ("audience", ""), ("resource", "")]).await;
            assert_eq!(empty.status(), 200);
        }
        for empty in [("subject_token", ""), ("subject_token_type", "")] {
            let pairs: Vec<_> = exchange_of(&key.value).into_iter().map(|pair| if pair.0 == empty.0 { empty } else { pair }).collect();
            oauth_error(server.token(&pairs).await, 400, "invalid_request").await;
        }
        oauth_error(server.token(&[("grant_type", IBM), ("apikey", "")]).await, 400, "invalid_request").await;
    }

    async fn unknown_grant_type_is_unsupported_grant_type(server: Server) {
        for grant in ["password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "token-exchange", "é\""] {
            oauth_error(server.token(&[("grant_type", grant)]).await, 400, "unsupported_grant_type").await;
        }
        oauth_error(server.token(&[("scope", "a")]).await, 400, "invalid_request").await;
        let details = [("grant_type", TOKEN_EXCHANGE), ("authorization_details", "[]")];
        oauth_error(server.token(&details).await, 400, "invalid_authorization_details").await;
    }

    async fn list_query_is_parsed_strictly(server: Server) {
        let admin = |path: &str| server.get(path).bearer_auth(&server.admin);
        for (query, status, code) in [
            ("limit=0", 422, "invalid"), ("limit=101", 422, "invalid"), ("limit=-1", 422, "invalid"), ("limit=x", 422, "invalid"),
            ("limit=99999999999999999999", 422, "invalid"), ("limit=1&limit=1", 400, "bad_request"), ("foo=1", 400, "bad_request"),
        ] {
            for list in ["api-keys", "service-clients", "permissions", "audiences", "events"] {
                problem(admin(&format!("/v1/{list}?{query}")).send().await.unwrap(), status, code).await;
            }
        }
        for query in ["after=x", "wait=31s", "wait=forever", "wait=-1s", "after=99999999999999999999"] {
            problem(admin(&format!("/v1/events?{query}")).send().await.unwrap(), 422, "invalid").await;
        }
        problem(admin("/v1/api-keys?service_client=x").send().await.unwrap(), 422, "invalid").await;
        // A cursor is a position in the sort order and need not refer to an existing object.
        for after in ["zzz", "'%20OR%201=1--", "%00", "key_"] {
            let answer = admin(&format!("/v1/api-keys?after={after}")).send().await.unwrap();
            assert!(answer.status().as_u16() < 500, "{after}: {}", answer.status());
        }
    }
}
