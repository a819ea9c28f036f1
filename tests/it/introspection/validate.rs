//! `POST /v1/api-keys/validate`: returns everything that a service needs to know
//! about a key or a token.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyswap::domain::exchange::claims::{AudienceClaim, Claims};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    portal::key_management::{call, member, of_organization, people, personal, put, session},
    support::{
        Key, Server, body_of, both,
        wire::{problem, snapshot, unknown, wrong},
    },
};

const PATH: &str = "/v1/api-keys/validate";
const MANAGEMENT: &str = "http://keyswap.test/v1";

async fn send_request(server: &Server, body: Value) -> Value {
    server.manage("POST", PATH, Some(body), 200).await
}

async fn validated(server: &Server, value: &str) -> Value {
    send_request(server, json!({ "value": value })).await
}

fn refused() -> Value {
    json!({ "api_key": null })
}

async fn token(server: &Server, key: &str, send_request: Value) -> String {
    let body = body_of(server.exchange_for(key, send_request).await, StatusCode::OK).await;
    body["access_token"].as_str().unwrap().to_owned()
}

/// Requires these permissions and returns the missing ones.
async fn missing(server: &Server, value: &str, required: &[&str]) -> Value {
    send_request(server, json!({ "value": value, "required_permissions": required })).await["missing_permissions"]
        .clone()
}

both! {
    // Features: W14, W17.
    async fn one_call_returns_everything_about_a_key(server: Server, "jobs=by_hand") {
        people(&server).await;
        put(&server, "/v1/users/self", json!({ "profile": { "email": "self@acme.test" }, "metadata": { "plan": "pro" } })).await;
        member(&server, "acme", "self", &["self"]).await;
        let key = personal(&server, "self", &["projects:read"]).await;
        let service = server.client_key(&["keyswap:validate"]).await;
        let answer = call(&server, &service.value, "POST", PATH, Some(json!({ "value": key.value }))).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let answer = body_of(answer, StatusCode::OK).await;
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
        assert_eq!(answer, json!({
            "api_key": shown,
            "user": { "id": "self", "blocked": false, "profile": { "email": "self@acme.test" }, "metadata": { "plan": "pro" } },
            "organization": { "id": "acme", "name": "acme", "metadata": {} },
            "missing_permissions": [],
            "record_bound": false,
        }));
        for member in ["id", "name", "masked", "owner", "permissions", "metadata", "created_at", "last_used_at"] {
            assert!(shown.get(member).is_some(), "{member}");
        }
        // A validation counts as a use of the key.
        assert_eq!(shown["last_used_at"], Value::Null);
        server.services.last_used.flush().await.unwrap();
        assert!(validated(&server, &key.value).await["api_key"]["last_used_at"].is_string());
    }

    // Features: W15.
    async fn invalid_requests_of_services_name_the_fault(server: Server) {
        let key = server.generic_key(&[]).await;
        let outsider = server.client_key(&["keyswap:keys", "keyswap:directory", "keyswap:events"]).await;
        assert_eq!(server.post(PATH).json(&json!({ "value": key.value })).send().await.unwrap().status(), 401);
        let answer = call(&server, &outsider.value, "POST", PATH, Some(json!({ "value": key.value }))).await;
        problem(answer, 403, "forbidden").await;
        for body in [
            json!({}), json!({ "value": null }), json!({ "value": 1 }), json!({ "value": key.value, "owner_type": "robot" }),
            json!({ "value": key.value, "required_permissions": ["a b"] }), json!({ "value": key.value, "audience": "a b" }),
            json!({ "value": key.value, "more": 1 }),
        ] {
            let refused = server.manage("POST", PATH, Some(body.clone()), 422).await;
            assert!(!refused.to_string().contains(&key.value), "{body}");
        }
        assert_eq!(validated(&server, "").await, refused());
    }

    // Features: W16.
    async fn missing_permission_is_named(server: Server) {
        let key = server.client_key(&["projects:read", "tasks:read"]).await;
        assert_eq!(missing(&server, &key.value, &["projects:read"]).await, json!([]));
        assert_eq!(missing(&server, &key.value, &["projects:write", "projects:read", "a"]).await, json!(["a", "projects:write"]));
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["tasks:read"] })), 200).await;
        let answer = send_request(&server, json!({ "value": key.value, "required_permissions": ["projects:read", "tasks:read"] })).await;
        assert_eq!(answer["missing_permissions"], json!(["projects:read"]), "what its owner has lost is not in effect");
        assert_eq!(answer["api_key"]["permissions"], json!(["projects:read", "tasks:read"]), "and still assigned");
    }

    // Features: W18.
    async fn permissions_are_those_assigned_and_a_key_cannot_raise_them(server: Server) {
        people(&server).await;
        member(&server, "acme", "self", &["self", "reader"]).await;
        let key = personal(&server, "self", &["projects:read", "user-api-keys:manage-self"]).await;
        let answer = send_request(&server, json!({ "value": key.value, "required_permissions": ["projects:write"] })).await;
        assert_eq!(answer["api_key"]["permissions"], json!(["projects:read", "user-api-keys:manage-self"]));
        assert_eq!(answer["missing_permissions"], json!(["projects:write"]), "the user has it, the key does not");
        let more = json!({ "permissions": ["projects:read", "projects:write", "user-api-keys:manage-self"] });
        let raised = call(&server, &key.value, "PATCH", &format!("/v1/api-keys/{}", key.id), Some(more)).await;
        problem(raised, 422, "invalid").await;
        let sibling = json!({ "name": "a", "permissions": ["projects:write"] });
        problem(call(&server, &key.value, "POST", "/v1/api-keys", Some(sibling)).await, 422, "invalid").await;
    }

    // Features: W19.
    async fn revoked_key_is_invalid_at_once_on_every_replica(server: Server) {
        let replica = server.replica().await;
        let revoked = server.generic_key(&[]).await;
        let issued = server.fetch_token(&revoked.value).await;
        let elsewhere = async |value: &str| {
            let request = replica.post(PATH).bearer_auth(&server.admin).json(&json!({ "value": value }));
            body_of(request.send().await.unwrap(), StatusCode::OK).await
        };
        for value in [&revoked.value, &issued] {
            assert_eq!(elsewhere(value).await["api_key"]["id"], revoked.id);
        }
        server.step(&revoked, "revoke").await;
        for value in [&revoked.value, &issued] {
            assert_eq!(elsewhere(value).await, refused());
            assert_eq!(validated(&server, value).await, refused());
        }
        assert_eq!(replica.exchange(&revoked.value).await.status(), 401);
    }

    async fn all_refusals_are_identical(server: Server) {
        people(&server).await;
        let generic = async || server.generic_key(&[]).await;
        let (revoked, suspended, expired, right) = (generic().await, generic().await, generic().await, generic().await);
        let (of_revoked, of_right) = (server.fetch_token(&revoked.value).await, server.fetch_token(&right.value).await);
        let blocked = personal(&server, "self", &["projects:read"]).await;
        let of_blocked = server.fetch_token(&blocked.value).await;
        server.step(&revoked, "revoke").await;
        server.step(&suspended, "suspend").await;
        let end = server.services.store.now().await.unwrap().plus("1m".parse().unwrap());
        server.manage("PATCH", &format!("/v1/api-keys/{}", expired.id), Some(json!({ "expires_at": end })), 200).await;
        server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": true })), 200).await;
        server.advance(61);
        let session = session(&server, "reader", "acme").await;
        let (head, signature) = of_right.rsplit_once('.').unwrap();
        let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
        let stranger = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzZWxmIn0.c2lnbmF0dXJl".to_owned();
        let mut bodies: Vec<_> = [
            "ks_malformed".to_owned(), unknown(), wrong(&right.value), suspended.value, expired.value, revoked.value, blocked.value,
            of_revoked, of_blocked, forged, stranger, session, "..".to_owned(), "Basic eDp5".to_owned(),
        ].map(|value| json!({ "value": value })).into();
        for value in [&right.value, &of_right] {
            bodies.push(json!({ "value": value, "owner_type": "user" }));
            bodies.push(json!({ "value": value, "audience": "https://nowhere.test/" }));
        }
        let mut answers = Vec::new();
        for body in &bodies {
            answers.push(snapshot(call(&server, &server.admin, "POST", PATH, Some(body.clone())).await).await);
        }
        // The key is valid, but the token has expired.
        server.advance(600);
        answers.push(snapshot(call(&server, &server.admin, "POST", PATH, Some(json!({ "value": of_right }))).await).await);
        assert_eq!((answers[0].0, answers[0].2.as_str()), (StatusCode::OK, r#"{"api_key":null}"#));
        for (answer, body) in answers.iter().zip(bodies.iter().chain([&json!("an expired token")])) {
            assert_eq!(answer, &answers[0], "{body}");
        }
        assert_eq!(validated(&server, &right.value).await["api_key"]["id"], right.id);
    }

    // Features: P8.
    async fn key_is_accepted_with_or_without_the_bearer_scheme(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        for value in [&key.value, &issued] {
            for shown in [value.clone(), format!("Bearer {value}"), format!("bearer  {value} ")] {
                assert_eq!(validated(&server, &shown).await["api_key"]["id"], key.id, "{shown}");
            }
            assert_eq!(validated(&server, &format!("Basic {value}")).await, refused());
        }
    }

    // Features: P9.
    async fn validation_returns_the_owner(server: Server) {
        people(&server).await;
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme", "metadata": { "tier": 1 } })).await;
        let organization = json!({ "id": "acme", "name": "Acme", "metadata": { "tier": 1 } });
        let of = async |key: &Key| {
            let mut answer = validated(&server, &key.value).await;
            (answer["user"].take(), answer["organization"].take())
        };
        let user = json!({ "id": "self", "blocked": false, "profile": {}, "metadata": {} });
        assert_eq!(of(&personal(&server, "self", &[]).await).await, (user.clone(), organization.clone()));
        assert_eq!(of(&of_organization(&server, "acme", &[]).await).await, (Value::Null, organization));
        assert_eq!(of(&server.generic_key(&[]).await).await, (Value::Null, Value::Null));
        let alone = server.key(json!({ "name": "a", "owner": { "type": "user", "id": "self" } })).await;
        assert_eq!(of(&alone).await, (user, Value::Null));
    }

    // Features: P10.
    async fn keys_of_unexpected_owner_types_are_refused(server: Server) {
        people(&server).await;
        let keys = [
            ("user", personal(&server, "self", &[]).await), ("organization", of_organization(&server, "acme", &[]).await),
            ("service_client", server.client_key(&[]).await), ("none", server.generic_key(&[]).await),
        ];
        for (kind, key) in &keys {
            for (wanted, _) in &keys {
                let answer = send_request(&server, json!({ "value": key.value, "owner_type": wanted })).await;
                assert_eq!(answer["api_key"].is_object(), kind == wanted, "{kind} {wanted}");
                assert!(kind == wanted || answer == refused());
            }
        }
    }

    // Features: P11.
    async fn current_metadata_is_returned(server: Server) {
        let key = server.key(json!({ "name": "a", "owner": { "type": "none" }, "metadata": { "n": 1.5, "deep": [{ "a": null }] } })).await;
        assert_eq!(validated(&server, &key.value).await["api_key"]["metadata"], json!({ "n": 1.5, "deep": [{ "a": null }] }));
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "metadata": { "n": 2, "deep": null } })), 200).await;
        assert_eq!(validated(&server, &key.value).await["api_key"]["metadata"], json!({ "n": 2 }));
    }

    // Features: D6.
    async fn whole_key_is_returned_without_its_value(server: Server) {
        let key = server.client_key(&["projects:read"]).await;
        let rotated = server.manage("POST", &format!("/v1/api-keys/{}/rotate", key.id), Some(json!({ "grace": "1h" })), 200).await;
        for value in [key.value.as_str(), rotated["value"].as_str().unwrap()] {
            let answer = validated(&server, value).await;
            let (visible, secret) = value.rsplit_once('_').unwrap();
            assert!(!answer.to_string().contains(secret));
            assert_eq!(answer["api_key"]["credentials"].as_array().unwrap().len(), 2, "old and new");
            assert!(answer["api_key"]["masked"].as_str().unwrap().ends_with("_…") && visible.len() > 16);
            let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
            assert_eq!(answer["api_key"], shown);
        }
    }

    // Features: D7.
    async fn response_serves_authentication_and_authorization(server: Server) {
        let service = server.client_key(&["keyswap:validate"]).await;
        let key = server.client_key(&["projects:read"]).await;
        // The status that a service derives: 401 for an invalid credential, 403 for a missing
        // permission, and 200 otherwise.
        let status = async |value: &str, needed: &str| {
            let body = json!({ "value": value, "required_permissions": [needed] });
            let answer = body_of(call(&server, &service.value, "POST", PATH, Some(body)).await, StatusCode::OK).await;
            match (answer["api_key"].is_null(), answer["missing_permissions"].as_array().is_some_and(Vec::is_empty)) {
                (true, _) => 401,
                (false, true) => 200,
                (false, false) => 403,
            }
        };
        assert_eq!((status(&key.value, "projects:read").await, status(&key.value, "projects:write").await), (200, 403));
        server.step(&key, "revoke").await;
        assert_eq!(status(&key.value, "projects:read").await, 401);
    }

    // Features: A16.
    async fn token_is_valid_like_a_key_within_its_scope(server: Server, "jobs=by_hand") {
        let key = server.client_key(&["projects:read", "projects:write"]).await;
        let narrow = token(&server, &key.value, json!({ "scope": "projects:read" })).await;
        let answer = send_request(&server, json!({ "value": narrow, "required_permissions": ["projects:read", "projects:write"] })).await;
        assert_eq!(answer["api_key"]["id"], key.id);
        assert_eq!(answer["api_key"]["permissions"], json!(["projects:read", "projects:write"]));
        assert_eq!(answer["missing_permissions"], json!(["projects:write"]));
        server.manage("PATCH", &format!("/v1/service-clients/{}", key.client), Some(json!({ "permissions": ["projects:write"] })), 200).await;
        assert_eq!(missing(&server, &narrow, &["projects:read", "projects:write"]).await, json!(["projects:read", "projects:write"]));
        server.services.last_used.flush().await.unwrap();
        let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
        assert!(shown["last_used_at"].is_string());
    }

    // Features: A16.
    async fn service_accepts_only_tokens_for_its_audience(server: Server) {
        let key = server.client_key(&["a", "b"]).await;
        let (one, other) = ("https://one.test/", "https://other.test/");
        server.audience(one, Some(&["a"])).await;
        let profiled = server.audience(other, None).await;
        let shape = json!({ "typ": "JWT", "scope_claim": "scp", "aud_claim": "array" });
        server.manage("PATCH", &format!("/v1/audiences/{}", profiled["id"].as_str().unwrap()), Some(shape), 200).await;
        let (for_one, for_other) =
            (token(&server, &key.value, json!({ "audience": one })).await, token(&server, &key.value, json!({ "audience": other })).await);
        let is_taken = async |value: &str, audience: Option<&str>| {
            let mut body = json!({ "value": value });
            if let Some(audience) = audience {
                body["audience"] = json!(audience);
            }
            send_request(&server, body).await["api_key"].is_object()
        };
        assert!(is_taken(&for_one, None).await && is_taken(&for_other, None).await);
        assert!(is_taken(&for_one, Some(one)).await && is_taken(&for_other, Some(other)).await);
        assert!(!is_taken(&for_one, Some(other)).await && !is_taken(&for_other, Some(one)).await);
        assert_eq!(missing(&server, &for_other, &["a", "b"]).await, json!([]), "scp is a scope too");
        let at_one = json!({ "value": key.value, "audience": one, "required_permissions": ["a", "b"] });
        assert_eq!(send_request(&server, at_one).await["missing_permissions"], json!(["b"]), "what the audience does not take");

        // The key is restricted to one of the audiences.
        server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(json!({ "audiences": [one] })), 200).await;
        assert!(is_taken(&key.value, None).await && is_taken(&key.value, Some(one)).await);
        assert!(!is_taken(&key.value, Some(other)).await && !is_taken(&for_other, None).await);
        assert!(is_taken(&for_one, None).await);
        let path = format!("/v1/api-keys/{}", key.id);
        server.manage("PATCH", &path, Some(json!({ "audiences": null })), 200).await;
        server.manage("DELETE", &format!("/v1/audiences/{}", profiled["id"].as_str().unwrap()), None, 204).await;
        assert!(!is_taken(&for_other, None).await, "no audience of ours any more");
    }

    // Features: A16.
    async fn management_token_is_valid_only_if_requested(server: Server) {
        let key = server.client_key(&["keyswap:events", "a"]).await;
        let management = token(&server, &key.value, json!({ "audience": MANAGEMENT })).await;
        assert_eq!(validated(&server, &management).await, refused());
        let body = json!({ "value": management, "audience": MANAGEMENT, "required_permissions": ["keyswap:events", "a"] });
        assert_eq!(send_request(&server, body).await["missing_permissions"], json!(["a"]));
        // A token without scope may be for both audiences.
        let bare = server.generic_key(&[]).await;
        let both = token(&server, &bare.value, json!({ "audience": [MANAGEMENT, "http://keyswap.test"] })).await;
        assert_eq!(validated(&server, &both).await, refused());
        assert_eq!(send_request(&server, json!({ "value": both, "audience": "http://keyswap.test" })).await, refused());
    }

    // Features: A16.
    async fn token_of_an_unknown_audience_is_refused(server: Server) {
        let key = server.generic_key(&[]).await;
        let issued = server.fetch_token(&key.value).await;
        let payload = URL_SAFE_NO_PAD.decode(issued.split('.').nth(1).unwrap()).unwrap();
        let claims: Claims = serde_json::from_slice(&payload).unwrap();
        // Each token is signed with the server's own key.
        let signed = async |typ: &str, claims: &Claims<'_>| {
            let view = server.services.keys.view();
            let signer = view.select_signer_at_refresh(server.services.settings.signing_keys.algorithm).unwrap();
            signer.sign_token(&typ.parse().unwrap(), claims).await.unwrap().expose().to_owned()
        };
        assert!(validated(&server, &signed("at+jwt", &claims).await).await["api_key"].is_object());
        assert_eq!(validated(&server, &signed("JWT", &claims).await).await, refused(), "no audience has such tokens");
        let elsewhere = Claims { iss: "http://other.test".into(), ..claims.clone() };
        assert_eq!(validated(&server, &signed("at+jwt", &elsewhere).await).await, refused());
        let no_audience = Claims { aud: Cow::Owned(AudienceClaim::Multiple(Vec::new())), ..claims.clone() };
        assert_eq!(validated(&server, &signed("at+jwt", &no_audience).await).await, refused());
        let unknown = AudienceClaim::One("https://unknown.test/".parse().unwrap());
        let unknown = Claims { aud: Cow::Owned(unknown), ..claims };
        assert_eq!(validated(&server, &signed("at+jwt", &unknown).await).await, refused());
    }
}
