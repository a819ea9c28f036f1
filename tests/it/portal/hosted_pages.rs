//! Browser sessions of hosted pages: sign-in and sign-out. `tests/interop/test_pages.py`
//! tests the user interface.

use futures_util::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::cookie_of;
use crate::{
    portal::key_management::{member, people, put, session},
    support::{Server, body_of, both, wire::problem},
};

const CURRENT: &str = "/v1/portal-sessions/current";

async fn opened(server: &Server) -> Value {
    let body = json!({ "user_id": "manager", "organization_id": "acme" });
    server.manage("POST", "/v1/portal-sessions", Some(body), 201).await
}

fn code_of(opened: &Value) -> String {
    opened["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned()
}

pub async fn spend(server: &Server, code: &str) -> Response {
    server.post("/portal/sign-in").header("keyswap-page", "1").json(&json!({ "code": code })).send().await.unwrap()
}

async fn with_cookie(server: &Server, method: &str, path: &str, cookie: &str) -> Response {
    let request = server.http.request(method.parse().unwrap(), server.url(path));
    request.header("cookie", cookie).header("keyswap-page", "1").send().await.unwrap()
}

both! {
    // Features: P5.
    async fn code_opens_one_session_that_can_be_ended(server: Server) {
        people(&server).await;
        let opened = opened(&server).await;
        let url = opened["url"].as_str().unwrap();
        assert!(url.starts_with("http://keyswap.test/portal/organization-keys#code=kps_"), "{url}");
        let answer = spend(&server, &code_of(&opened)).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let cookie = cookie_of(&answer);
        let current = body_of(with_cookie(&server, "GET", CURRENT, &cookie).await, StatusCode::OK).await;
        assert_eq!((&current["user_id"], &current["organization_id"]), (&json!("manager"), &json!("acme")));
        problem(spend(&server, &code_of(&opened)).await, 401, "invalid_token").await;

        let out = with_cookie(&server, "POST", "/portal/sign-out", &cookie).await;
        assert_eq!(out.status(), StatusCode::NO_CONTENT);
        assert_eq!(cookie_of(&out), "__Host-keyswap=");
        problem(with_cookie(&server, "GET", CURRENT, &cookie).await, 401, "invalid_token").await;
        // A repeated sign-out succeeds.
        assert_eq!(with_cookie(&server, "POST", "/portal/sign-out", &cookie).await.status(), StatusCode::NO_CONTENT);

        let events = server.events().await;
        let of_sessions: Vec<_> = events.iter().filter(|event| event["subject"]["type"] == "portal_session").collect();
        let listed: Vec<_> = of_sessions.iter().map(|event| (event["type"].as_str().unwrap(), event["data"]["kind"].as_str())).collect();
        let created = "portal_session.created";
        assert_eq!(listed, [(created, Some("token")), (created, Some("page")), ("portal_session.ended", Some("page"))]);
        assert_eq!(of_sessions[1]["on_behalf_of"], "manager");
        assert_eq!(of_sessions[0]["data"]["code"], of_sessions[1]["actor"]["id"], "the opener is recorded");
        assert_eq!(of_sessions[1]["subject"], of_sessions[2]["subject"]);
    }

    async fn session_of_another_user_is_replaced_with_consent_only(server: Server) {
        people(&server).await;
        let open = async |user: &str| {
            let body = json!({ "user_id": user, "organization_id": "acme" });
            code_of(&server.manage("POST", "/v1/portal-sessions", Some(body), 201).await)
        };
        let sign_in = async |code: &str, cookie: &str, body: Value| {
            let mut body = body;
            body["code"] = json!(code);
            let request = server.post("/portal/sign-in").header("keyswap-page", "1").header("cookie", cookie);
            request.json(&body).send().await.unwrap()
        };
        let user = async |cookie: &str| {
            let current = with_cookie(&server, "GET", CURRENT, cookie).await;
            body_of(current, StatusCode::OK).await["user_id"].as_str().unwrap().to_owned()
        };
        let manager = cookie_of(&spend(&server, &open("manager").await).await);
        // Another session of the same user needs no consent.
        let renewed = sign_in(&open("manager").await, &manager, json!({})).await;
        assert_eq!(renewed.status(), StatusCode::NO_CONTENT);
        let renewed = cookie_of(&renewed);
        problem(with_cookie(&server, "GET", CURRENT, &manager).await, 401, "invalid_token").await;
        let other = open("self").await;
        for body in [json!({}), json!({ "replace": false })] {
            let refused = problem(sign_in(&other, &renewed, body).await, 409, "conflict").await;
            assert!(refused["detail"].as_str().unwrap().starts_with("manager is signed in"), "{refused}");
        }
        assert_eq!(user(&renewed).await, "manager", "the session goes on, and the code is not spent");
        let replaced = sign_in(&other, &renewed, json!({ "replace": true })).await;
        assert_eq!(replaced.status(), StatusCode::NO_CONTENT);
        assert_eq!(user(&cookie_of(&replaced)).await, "self");
        problem(with_cookie(&server, "GET", CURRENT, &renewed).await, 401, "invalid_token").await;
        // A session that has ended needs no consent.
        let late = sign_in(&open("self").await, &renewed, json!({})).await;
        assert_eq!(late.status(), StatusCode::NO_CONTENT);
    }

    async fn unknown_user_gets_no_page(server: Server) {
        let answer = server.get(CURRENT).bearer_auth(&server.admin).send().await.unwrap();
        problem(answer, 400, "bad_request").await;
    }

    async fn concurrent_uses_of_a_code_open_one_session(server: Server) {
        people(&server).await;
        let code = code_of(&opened(&server).await);
        let answers = join_all((0..8).map(|_| spend(&server, &code))).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
    }

    async fn code_expires_after_a_minute_and_session_at_its_end(server: Server, "portal.session_ttl=5m") {
        people(&server).await;
        let (late, spent) = (code_of(&opened(&server).await), code_of(&opened(&server).await));
        let cookie = cookie_of(&spend(&server, &spent).await);
        server.advance(61);
        problem(spend(&server, &late).await, 401, "invalid_token").await;
        assert_eq!(with_cookie(&server, "GET", CURRENT, &cookie).await.status(), StatusCode::OK);
        server.advance(240);
        problem(with_cookie(&server, "GET", CURRENT, &cookie).await, 401, "invalid_token").await;
    }

    async fn blocked_user_cannot_use_a_code(server: Server) {
        people(&server).await;
        let code = code_of(&opened(&server).await);
        server.manage("PATCH", "/v1/users/manager", Some(json!({ "blocked": true })), 200).await;
        problem(spend(&server, &code).await, 401, "invalid_token").await;
    }

    async fn sign_in_requires_the_page_header_and_a_code(server: Server) {
        people(&server).await;
        let opened = opened(&server).await;
        let body = json!({ "code": code_of(&opened) });
        let bare = server.post("/portal/sign-in").json(&body).send().await.unwrap();
        problem(bare, 400, "bad_request").await;
        let elsewhere = server.post("/portal/sign-in").header("keyswap-page", "1").header("sec-fetch-site", "cross-site");
        problem(elsewhere.json(&body).send().await.unwrap(), 400, "bad_request").await;
        let token = session(&server, "manager", "acme").await;
        for other in [token.as_str(), &server.admin, "kps_", ""] {
            problem(spend(&server, other).await, 401, "invalid_token").await;
        }
        // None of these requests has consumed the code.
        assert_eq!(spend(&server, &code_of(&opened)).await.status(), StatusCode::NO_CONTENT);
    }

    // Features: P5.
    async fn pages_can_have_their_own_domain(server: Server, "portal.public_url=https://keys.example") {
        people(&server).await;
        assert!(opened(&server).await["url"].as_str().unwrap().starts_with("https://keys.example/portal/organization-keys#code="));
        let body = json!({ "user_id": "manager" });
        let outside = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
        assert!(outside["url"].as_str().unwrap().starts_with("https://keys.example/portal/user-keys#code="));
    }

    // Features: A12.
    async fn page_receives_the_configured_choices(server: Server, r#"portal.choices=["roles","resources"]"#) {
        people(&server).await;
        put(&server, "/v1/permissions/team", json!({ "assignable_to": ["organization"] })).await;
        put(&server, "/v1/roles/lead", json!({ "permissions": ["team", "projects:write"], "description": "Leads" })).await;
        member(&server, "acme", "self", &["self", "reader", "lead"]).await;
        let token = session(&server, "self", "acme").await;
        let current = body_of(server.get(CURRENT).bearer_auth(&token).send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(current["choices"], json!(["roles", "resources"]));
        // Each role lists only permissions that the user's own keys may carry: neither permissions
        // to manage organization keys nor permissions of other owner types.
        let role = |name: &str, about: Option<&str>, permissions: &[&str]| json!({ "name": name, "description": about, "permissions": permissions });
        let roles = json!([
            role("lead", Some("Leads"), &["projects:write"]),
            role("reader", None, &["projects:read", "projects:write"]),
            role("self", None, &["projects:read", "user-api-keys:manage-self"]),
        ]);
        let mut listed = current["user"]["roles"].as_array().unwrap().clone();
        listed.sort_by_key(|role| role["name"].as_str().unwrap().to_owned());
        assert_eq!(json!(listed), roles);
        assert_eq!(current["organization"]["roles"], json!([]), "they change none of its keys");
    }

    // Features: A12.
    async fn only_permissions_are_selectable_by_default(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        let current = body_of(server.get(CURRENT).bearer_auth(&token).send().await.unwrap(), StatusCode::OK).await;
        assert_eq!((&current["choices"], &current["user"]["roles"]), (&json!(["permissions"]), &json!([])));
    }

    async fn page_assets_are_immutable_and_compressed(server: Server) {
        for (page, most) in [("/portal/user-keys", 150_000), ("/console", 150_000)] {
            loads(&server, page, most).await;
        }
        problem(server.get("/assets/0123456789abcdef/widget/keys.js").send().await.unwrap(), 404, "not_found").await;
        let widget = server.get("/widget/v1.js").send().await.unwrap();
        assert_eq!(widget.headers()["cache-control"], "public, no-cache");
        assert_eq!(widget.headers()["access-control-allow-origin"], "*");
    }
}

/// Asserts that the compressed files of a page are smaller than `most` bytes in total.
async fn loads(server: &Server, page: &str, most: usize) {
    let page = server.get(page).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = page.text().await.unwrap();
    let paths: Vec<_> = html.split('"').filter_map(|part| Some(&part[part.find("assets/")?..])).collect();
    assert!(paths.len() > 10, "{html}");
    let mut wire = 0;
    for path in paths.iter().map(|path| format!("/{path}")) {
        let path = path.as_str();
        let plain = server.get(path).send().await.unwrap();
        assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable", "{path}");
        let plain = plain.bytes().await.unwrap();
        let packed = server.get(path).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert_eq!(packed.headers()["vary"], "Accept-Encoding");
        let packed = packed.bytes().await.unwrap();
        assert!(packed.len() < plain.len() || plain.len() < 400, "{path}");
        wire += packed.len();
    }
    assert!(wire < most, "{wire} bytes");
}
