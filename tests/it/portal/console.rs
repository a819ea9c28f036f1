//! The HTTP interface of the operator console: sessions, authorization and console-only endpoints.
//! `tests/interop/test_console.py` tests the user interface.

use keyswap::{
    domain::common::time::Span,
    service::Services,
    store::{Clock, StoreError},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::cookie_of;
use crate::support::{Server, body_of, both, wire::problem};

async fn enter(server: &Server, key: &str) -> Response {
    server.post("/console/sign-in").header("keyswap-page", "console").json(&json!({ "key": key })).send().await.unwrap()
}

async fn with_cookie(server: &Server, method: &str, path: &str, cookie: &str) -> Response {
    let request = server.http.request(method.parse().unwrap(), server.url(path));
    request.header("cookie", cookie).header("keyswap-page", "console").send().await.unwrap()
}

async fn flush_counts(services: &Services) -> Result<(), StoreError> {
    services.exchange_counts.flush(&services.store, &services.metrics).await
}

both! {
    async fn operator_key_opens_a_session_that_can_be_ended(server: Server) {
        let answer = enter(&server, &server.admin).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert!(answer.headers()["set-cookie"].to_str().unwrap().ends_with("Max-Age=3600"), "tokens.max_ttl");
        let cookie = cookie_of(&answer);
        assert!(cookie.starts_with("__Host-keyswap-console=eyJ"), "a token, and not the key");
        let caller = body_of(with_cookie(&server, "GET", "/v1/caller", &cookie).await, StatusCode::OK).await;
        assert_eq!(caller["permissions"], json!(["keyswap:admin"]));
        assert_eq!((&caller["actor"]["type"], &caller["organization_id"]), (&json!("api_key"), &Value::Null));
        assert_eq!(with_cookie(&server, "GET", "/v1/signing-keys", &cookie).await.status(), StatusCode::OK);

        let out = with_cookie(&server, "POST", "/console/sign-out", &cookie).await;
        assert_eq!(cookie_of(&out), "__Host-keyswap-console=");
        problem(with_cookie(&server, "GET", "/v1/caller", &cookie).await, 401, "invalid_token").await;
        assert_eq!(with_cookie(&server, "POST", "/console/sign-out", &cookie).await.status(), StatusCode::NO_CONTENT);

        let events = server.events().await;
        let created = events.iter().find(|event| event["type"] == "console_session.created").unwrap();
        let ended = events.iter().find(|event| event["type"] == "token.revoked").unwrap();
        assert_eq!(created["subject"]["id"], ended["data"]["jti"], "the end of this very session");
        assert_eq!((&created["actor"], &created["data"]["api_key"]), (&caller["actor"], &caller["actor"]["id"]));
    }

    async fn console_session_ends_at_expiry_and_with_its_key(server: Server) {
        let key = server.client_key(&["keyswap:events"]).await;
        let cookie = cookie_of(&enter(&server, &key.value).await);
        assert_eq!(with_cookie(&server, "GET", "/v1/events", &cookie).await.status(), StatusCode::OK);
        // The session has only the permissions of its key.
        problem(with_cookie(&server, "GET", "/v1/signing-keys", &cookie).await, 403, "forbidden").await;
        server.step(&key, "revoke").await;
        problem(with_cookie(&server, "GET", "/v1/events", &cookie).await, 401, "invalid_token").await;
        let cookie = cookie_of(&enter(&server, &server.admin).await);
        server.advance(3590);
        assert_eq!(with_cookie(&server, "GET", "/v1/events", &cookie).await.status(), StatusCode::OK);
        server.advance(11);
        problem(with_cookie(&server, "GET", "/v1/events", &cookie).await, 401, "invalid_token").await;
    }

    async fn console_session_is_ended_while_its_key_is_suspended(server: Server) {
        let key = server.client_key(&["keyswap:events", "projects:read"]).await;
        let cookie = cookie_of(&enter(&server, &key.value).await);
        let kept = cookie_of(&enter(&server, &key.value).await);
        server.step(&key, "suspend").await;
        let out = with_cookie(&server, "POST", "/console/sign-out", &cookie).await;
        assert_eq!(cookie_of(&out), "__Host-keyswap-console=");
        let event = server.events().await.pop().unwrap();
        assert_eq!((&event["type"], &event["actor"]["id"]), (&json!("token.revoked"), &json!(key.id)));
        server.step(&key, "resume").await;
        problem(with_cookie(&server, "GET", "/v1/events", &cookie).await, 401, "invalid_token").await;
        assert_eq!(with_cookie(&server, "GET", "/v1/events", &kept).await.status(), StatusCode::OK);
        // A service that holds a token for its own audience cannot revoke it here.
        let token = server.fetch_token(&key.value).await;
        let count = server.events().await.len();
        let out = with_cookie(&server, "POST", "/console/sign-out", &format!("__Host-keyswap-console={token}")).await;
        assert_eq!((out.status(), server.events().await.len()), (StatusCode::NO_CONTENT, count));
    }

    async fn key_without_management_permissions_cannot_sign_in(server: Server) {
        server.permissions(&["projects:read"]).await;
        let key = server.client_key(&["projects:read"]).await;
        let bare = server.generic_key(&[]).await;
        // The permission manages organization keys, but this key belongs to no organization.
        let nobodys = json!({ "name": "absent value", "owner": { "type": "none" }, "permissions": ["api-keys:manage"] });
        let nowhere = server.key(nobodys).await;
        for value in [&key.value, &bare.value, &nowhere.value] {
            let refused = enter(&server, value).await;
            assert!(!refused.headers().contains_key("set-cookie"));
            problem(refused, 403, "forbidden").await;
        }
        server.step(&key, "revoke").await;
        for absent in [key.value.as_str(), "ks_", "", "eyJ.eyJ.x"] {
            problem(enter(&server, absent).await, 401, "invalid_token").await;
        }
        assert!(server.events().await.iter().all(|event| event["type"] != "console_session.created"));
    }

    async fn console_endpoints_require_the_page_header_and_cookie(server: Server) {
        let body = json!({ "key": server.admin });
        for mark in [None, Some("1"), Some("2")] {
            let request = server.post("/console/sign-in").json(&body);
            let request = mark.into_iter().fold(request, |request, mark| request.header("keyswap-page", mark));
            problem(request.send().await.unwrap(), 400, "bad_request").await;
        }
        let elsewhere = server.post("/console/sign-in").header("keyswap-page", "console").header("sec-fetch-site", "cross-site");
        problem(elsewhere.json(&body).send().await.unwrap(), 400, "bad_request").await;
        let cookie = cookie_of(&enter(&server, &server.admin).await);
        let ask = |mark: &'static str, site: &'static str| {
            let request = server.get("/v1/events").header("cookie", &cookie);
            request.header("keyswap-page", mark).header("sec-fetch-site", site)
        };
        assert_eq!(ask("console", "same-origin").send().await.unwrap().status(), StatusCode::OK);
        for (mark, site) in [("1", "same-origin"), ("", "same-origin"), ("console", "same-site"), ("console", "none")] {
            problem(ask(mark, site).send().await.unwrap(), 401, "unauthorized").await;
        }
        // An API key in the cookie is not accepted, because browsers store cookies on disk.
        let of_key = format!("__Host-keyswap-console={}", server.admin);
        problem(with_cookie(&server, "GET", "/v1/events", &of_key).await, 401, "invalid_token").await;
    }

    async fn console_acts_on_behalf_of_users_within_its_key(server: Server) {
        server.role("self", &["user-api-keys:manage-self"]).await;
        server.organization("acme").await;
        server.user("ada", &[]).await;
        server.member("acme", "ada", &["self"]).await;
        let cookie = cookie_of(&enter(&server, &server.admin).await);
        let request = server.get("/v1/caller").header("cookie", &cookie).header("keyswap-page", "console");
        let answer = request.header("keyswap-on-behalf-of", "ada; organization=acme").send().await.unwrap();
        let caller = body_of(answer, StatusCode::OK).await;
        assert_eq!((&caller["on_behalf_of"], &caller["organization_id"]), (&json!("ada"), &json!("acme")));
        assert_eq!(caller["permissions"], json!(["user-api-keys:manage-self"]));
    }

    async fn organization_manager_sees_only_the_organization(server: Server) {
        server.offer_management_permissions().await;
        server.organization("acme").await;
        let owner = json!({ "type": "organization", "id": "acme" });
        let key = server.key(json!({ "name": "admin", "owner": owner, "permissions": ["api-keys:manage"] })).await;
        let cookie = cookie_of(&enter(&server, &key.value).await);
        let caller = body_of(with_cookie(&server, "GET", "/v1/caller", &cookie).await, StatusCode::OK).await;
        assert_eq!((&caller["organization_id"], &caller["permissions"]), (&json!("acme"), &json!(["api-keys:manage"])));
    }

    async fn failed_sign_out_keeps_the_session_cookie(server: Server, "database.statement_timeout=1s") {
        let cookie = cookie_of(&enter(&server, &server.admin).await);
        let held = server.database.hold_changes();
        let out = with_cookie(&server, "POST", "/console/sign-out", &cookie).await;
        assert_eq!(out.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!out.headers().contains_key("set-cookie"), "else absent could name it any more");
        held.release();
        assert_eq!(with_cookie(&server, "POST", "/console/sign-out", &cookie).await.status(), StatusCode::NO_CONTENT);
        problem(with_cookie(&server, "GET", "/v1/caller", &cookie).await, 401, "invalid_token").await;
    }

    async fn replicas_share_exchange_counts(server: Server, "jobs=by_hand") {
        let other = server.replica().await;
        let key = server.generic_key(&[]).await;
        for one in [&server, &other, &server] {
            assert_eq!(one.exchange(&key.value).await.status(), StatusCode::OK);
        }
        let (a, b) = tokio::join!(flush_counts(&server.services), flush_counts(&other.services));
        assert!(a.is_ok() && b.is_ok());
        let (a, b) = tokio::join!(flush_counts(&server.services), flush_counts(&server.services));
        assert!(a.is_ok() && b.is_ok());
        let reported = server.manage("GET", "/v1/overview?hours=2", None, 200).await;
        let granted: i64 = reported["exchanges"].as_array().unwrap().iter().map(|hour| hour["granted"].as_i64().unwrap()).sum();
        assert_eq!(granted, 3);
    }

    async fn exchanges_and_refusals_are_counted_by_hour(server: Server, "jobs=by_hand") {
        let key = server.generic_key(&[]).await;
        for _ in 0..3 {
            assert_eq!(server.exchange(&key.value).await.status(), StatusCode::OK);
        }
        server.step(&key, "suspend").await;
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(server.exchange("ks_nonsense").await.status(), StatusCode::UNAUTHORIZED);
        // `explain` does not count as an exchange.
        server.post("/v1/exchange/explain").bearer_auth(&server.admin).send().await.unwrap();
        flush_counts(&server.services).await.unwrap();
        let first = server.manage("GET", "/v1/overview", None, 200).await;
        assert_eq!(first["exchanges"].as_array().unwrap().len(), 1, "{first}");
        let hour = &first["exchanges"][0];
        assert_eq!((&hour["granted"], &hour["refused"]), (&json!(3), &json!({ "malformed": 1, "suspended": 1 })));
        assert!(hour["at"].as_str().unwrap().ends_with(":00:00.000Z"), "{hour}");

        server.advance(3600);
        server.step(&key, "resume").await;
        assert_eq!(server.exchange(&key.value).await.status(), StatusCode::OK);
        flush_counts(&server.services).await.unwrap();
        flush_counts(&server.services).await.unwrap();
        let later = server.manage("GET", "/v1/overview?hours=2", None, 200).await;
        let granted: Vec<_> = later["exchanges"].as_array().unwrap().iter().map(|hour| &hour["granted"]).collect();
        assert_eq!(granted, [3, 1], "each once");
        let now = server.manage("GET", "/v1/overview?hours=1", None, 200).await;
        assert_eq!(now["exchanges"].as_array().unwrap().len(), 1);
        for hours in ["0", "721", "x"] {
            server.manage("GET", &format!("/v1/overview?hours={hours}"), None, 422).await;
        }
    }

    async fn keys_are_counted_by_their_state(server: Server) {
        let before = server.manage("GET", "/v1/overview", None, 200).await["keys"].clone();
        let (suspended, revoked, gone) =
            (server.generic_key(&[]).await, server.generic_key(&[]).await, server.generic_key(&[]).await);
        server.generic_key(&[]).await;
        let ends = |seconds: u64| {
            let now = Clock::now(&*server.database.clock());
            now.plus(Span::from_secs(seconds)).to_string()
        };
        for seconds in [60, 3600] {
            server.key(json!({ "name": "ends", "owner": { "type": "none" }, "permissions": [], "expires_at": ends(seconds) })).await;
        }
        server.step(&suspended, "suspend").await;
        server.step(&revoked, "revoke").await;
        server.manage("DELETE", &format!("/v1/api-keys/{}", gone.id), None, 204).await;
        server.advance(61);
        // Each replica caches the statistics separately.
        let keys = server.replica().await.manage("GET", "/v1/overview", None, 200).await["keys"].clone();
        let again = server.manage("GET", "/v1/overview", None, 200).await;
        assert_eq!(again["keys"], before, "not more often than every 30 s");
        let more = |state: &str| keys[state].as_i64().unwrap() - before[state].as_i64().unwrap();
        let states = ["active", "suspended", "expired", "revoked", "expiring"];
        assert_eq!(states.map(more), [2, 1, 1, 1, 1], "{before} {keys}");
    }

    // Features: P5.
    async fn hosted_pages_use_the_configured_branding(server: Server) {
        let plain = body_of(server.get("/v1/branding").send().await.unwrap(), StatusCode::OK).await;
        assert_eq!((&plain["name"], &plain["version"]), (&Value::Null, &json!(1)));
        let wished = json!({
            "name": "Runway", "logo": "data:image/png;base64,iVBORw0KGgo=", "accent": "#0f766e", "accent_dark": "#5eead4",
            "texts": { "user_help": "Keys for your own scripts.", "organization_help": null, "signed_out_help": null },
        });
        let stored = server.manage("PUT", "/v1/branding", Some(wished.clone()), 200).await;
        assert_eq!(stored["version"], 2);
        for member in ["name", "logo", "accent", "accent_dark", "texts"] {
            assert_eq!(stored[member], wished[member]);
        }
        assert_eq!(server.manage("PUT", "/v1/branding", Some(wished), 200).await["version"], 2, "the same again");
        assert_eq!(body_of(server.get("/v1/branding").send().await.unwrap(), StatusCode::OK).await, stored);
        let of_branding = server.events().await.into_iter().filter(|event| event["type"] == "branding.updated").count();
        assert_eq!(of_branding, 1);

        let put = |body: Value| server.http.put(server.url("/v1/branding")).bearer_auth(&server.admin).json(&body);
        problem(put(json!({})).header("if-match", "\"1\"").send().await.unwrap(), 412, "precondition_failed").await;
        for bad in [
            json!({ "accent": "red" }),
            json!({ "logo": "https://elsewhere.example/logo.png" }),
            json!({ "logo": "data:text/html;base64,PHN2Zy8+" }),
            json!({ "texts": { "user_help": "two\nlines" } }),
            json!({ "texts": { "more": "x" } }),
            json!({ "style": "x" }),
        ] {
            let answer = put(bad.clone()).send().await.unwrap();
            assert!([400, 422].contains(&answer.status().as_u16()), "{bad}");
        }
        let key = server.client_key(&["keyswap:keys"]).await;
        let other = server.http.put(server.url("/v1/branding")).bearer_auth(&key.value).json(&json!({}));
        problem(other.send().await.unwrap(), 403, "forbidden").await;
    }

    async fn events_are_read_in_both_directions(server: Server) {
        for _ in 0..3 {
            server.generic_key(&[]).await;
        }
        let seqs = |page: &Value| page["data"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect::<Vec<_>>();
        let all = seqs(&server.manage("GET", "/v1/events?limit=100", None, 200).await);
        let mut back = Vec::new();
        let mut path = "/v1/events?order=newest&limit=4".to_owned();
        loop {
            let page = server.manage("GET", &path, None, 200).await;
            back.extend(seqs(&page));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/events?order=newest&limit=4&after={next}");
        }
        back.reverse();
        assert_eq!(back, all);
        let of_keys = server.manage("GET", "/v1/events?order=newest&type=api_key.created&limit=1", None, 200).await;
        assert_eq!(seqs(&of_keys).first(), all.last());
        server.manage("GET", "/v1/events?order=newest&wait=5s", None, 422).await;
        server.manage("GET", "/v1/events?order=random", None, 422).await;
    }
}
