//! Portal sessions as a back end manages them: list, end, and revoke by their tokens.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{cookie_of, hosted_pages::spend, key_management::people};
use crate::support::{
    Key, Kind, MANUAL_JOBS, Server, body_of, both,
    calls::{call, read_pages},
    wire::{form, problem, snapshot, unknown, wrong},
};

pub(super) const SESSIONS: &str = "/v1/portal-sessions";
const CURRENT: &str = "/v1/portal-sessions/current";

/// A session as the back end received it.
pub(super) struct Opened {
    pub(super) id: String,
    pub(super) token: String,
    pub(super) code: String,
}

pub(super) async fn open(server: &Server, opener: &str, user: &str) -> Opened {
    let body = json!({ "user_id": user, "organization_id": "acme" });
    let opened = body_of(call(server, opener, "POST", SESSIONS, Some(body), &[]).await, StatusCode::CREATED).await;
    let text = |name: &str| opened[name].as_str().unwrap().to_owned();
    Opened { id: text("id"), token: text("token"), code: text("url").split_once("#code=").unwrap().1.to_owned() }
}

pub(super) async fn works(server: &Server, token: &str) -> bool {
    let status = call(server, token, "GET", CURRENT, None, &[]).await.status().as_u16();
    assert!([200, 401].contains(&status), "{status}");
    status == 200
}

pub(super) async fn page_works(server: &Server, cookie: &str) -> bool {
    let request = server.get(CURRENT).header("cookie", cookie).header("keyswap-page", "1");
    request.send().await.unwrap().status() == StatusCode::OK
}

/// The value of a session in its cookie.
fn value_of(cookie: &str) -> &str {
    cookie.split_once('=').unwrap().1
}

async fn revoke(server: &Server, caller: &str, token: &str) -> (StatusCode, Vec<String>, String) {
    snapshot(form(server.post("/oauth/revoke").bearer_auth(caller), &[("token", token)]).send().await.unwrap()).await
}

async fn openers(server: &Server) -> [Key; 2] {
    people(server).await;
    [server.client_key(&["keyswap:sessions"]).await, server.client_key(&["keyswap:sessions"]).await]
}

async fn count(server: &Server, filter: &str) -> usize {
    let page = server.manage("GET", &format!("{SESSIONS}?limit=100{filter}"), None, 200).await;
    page["data"].as_array().unwrap().len()
}

/// The ended sessions after the first `count` events, as user and kind.
async fn ended_after(server: &Server, count: usize) -> Vec<(String, String)> {
    let events = server.events().await.split_off(count);
    assert!(events.iter().all(|event| event["type"] == "portal_session.ended"), "{events:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut ended: Vec<_> =
        events.iter().map(|event| (text(&event["data"]["user"]), text(&event["data"]["kind"]))).collect();
    ended.sort();
    ended
}

both! {
    async fn sessions_are_listed_without_their_secrets_until_they_expire(server: Server) {
        let [one, other] = openers(&server).await;
        let opened = open(&server, &one.value, "self").await;
        let cookie = cookie_of(&spend(&server, &opened.code).await);
        let unspent = open(&server, &other.value, "manager").await;
        let all = read_pages(&server, SESSIONS, 1).await;
        let mut kinds: Vec<_> = all.iter().map(|session| (session["user_id"].as_str().unwrap(), session["kind"].as_str().unwrap())).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [("manager", "code"), ("manager", "token"), ("self", "page"), ("self", "token")]);
        let token = all.iter().find(|session| session["id"] == opened.id.as_str()).unwrap();
        assert_eq!((&token["organization_id"], &token["opened_by"]), (&json!("acme"), &json!(one.id)));
        let text = json!(all).to_string();
        for secret in [&opened.token, value_of(&cookie), &unspent.token, &unspent.code] {
            assert!(!text.contains(&secret[21..]), "{text}");
        }
        for (filter, expected) in [
            ("&user=self", 2), ("&user=absent", 0), ("&organization=acme", 4), ("&organization=umbrella", 0),
            (&format!("&opened_by={}", one.id), 2), (&format!("&opened_by={}&user=self", other.id), 0),
        ] {
            assert_eq!(count(&server, filter).await, expected, "{filter}");
        }
        server.advance(61);
        assert_eq!(count(&server, "&user=manager").await, 1, "a code expires after a minute");
        server.advance(15 * 60);
        assert_eq!(count(&server, "").await, 0);
    }

    async fn only_callers_with_the_permission_list_and_end_sessions(server: Server) {
        let [opener, _] = openers(&server).await;
        let opened = open(&server, &opener.value, "self").await;
        let directory = server.client_key(&["keyswap:directory"]).await;
        let one = format!("{SESSIONS}/{}", opened.id);
        let unknown = format!("{SESSIONS}/pss_{}", "a".repeat(16));
        for credential in [&directory.value, &opened.token] {
            for (method, path) in [("GET", SESSIONS), ("DELETE", &one), ("DELETE", &unknown), ("DELETE", &format!("{SESSIONS}?user=self"))] {
                problem(call(&server, credential, method, path, None, &[]).await, 403, "forbidden").await;
            }
        }
        let on_behalf = [("keyswap-on-behalf-of", "self; organization=acme")];
        let keys = server.client_key(&["keyswap:keys"]).await;
        problem(call(&server, &keys.value, "DELETE", &one, None, &on_behalf).await, 403, "forbidden").await;
        assert!(works(&server, &opened.token).await);
        for id in [&unknown, &format!("{SESSIONS}/x")] {
            problem(call(&server, &opener.value, "DELETE", id, None, &[]).await, 404, "not_found").await;
        }
        // Without a filter, nothing is ended.
        problem(call(&server, &opener.value, "DELETE", SESSIONS, None, &[]).await, 422, "invalid").await;
        assert!(works(&server, &opened.token).await);
        assert_eq!(call(&server, &keys.value, "DELETE", &one, None, &[]).await.status(), 204);
        problem(call(&server, &keys.value, "DELETE", &one, None, &[]).await, 404, "not_found").await;
    }

    async fn session_ends_with_its_code_and_page_on_every_replica(server: Server) {
        let [opener, _] = openers(&server).await;
        let replica = server.replica().await;
        let (spent, unspent) = (open(&server, &opener.value, "self").await, open(&server, &opener.value, "self").await);
        let page = cookie_of(&spend(&server, &spent.code).await);
        let before = server.events().await.len();
        for session in [&spent, &unspent] {
            assert!(works(&replica, &session.token).await);
            let ended = call(&server, &opener.value, "DELETE", &format!("{SESSIONS}/{}", session.id), None, &[]).await;
            assert_eq!(ended.status(), 204);
            assert!(!works(&replica, &session.token).await);
        }
        assert!(!page_works(&replica, &page).await);
        assert_eq!(spend(&replica, &unspent.code).await.status(), 401);
        let own = |kind: &str| ("self".to_owned(), kind.to_owned());
        assert_eq!(ended_after(&server, before).await, [own("code"), own("page"), own("token"), own("token")]);
    }

    async fn ending_a_page_leaves_the_session_that_it_belongs_to(server: Server) {
        let [opener, _] = openers(&server).await;
        let opened = open(&server, &opener.value, "self").await;
        let page = cookie_of(&spend(&server, &opened.code).await);
        let path = format!("{SESSIONS}/pss_{}", &value_of(&page)[4..20]);
        assert_eq!(call(&server, &opener.value, "DELETE", &path, None, &[]).await.status(), 204);
        assert_eq!((page_works(&server, &page).await, works(&server, &opened.token).await), (false, true));
    }

    async fn sessions_of_a_user_or_an_opener_end_together(server: Server) {
        let [one, other] = openers(&server).await;
        let sessions = [
            open(&server, &one.value, "self").await, open(&server, &one.value, "manager").await, open(&server, &other.value, "self").await,
        ];
        let seen = async || {
            let mut seen = Vec::new();
            for session in &sessions {
                seen.push(works(&server, &session.token).await);
            }
            seen
        };
        let end = async |filter: &str| server.manage("DELETE", &format!("{SESSIONS}?{filter}"), None, 200).await["ended"].clone();
        assert_eq!(end(&format!("user=self&opened_by={}", other.id)).await, 2);
        assert_eq!(seen().await, [true, true, false]);
        assert_eq!(end("user=self").await, 2);
        assert_eq!(seen().await, [false, true, false]);
        assert_eq!(end(&format!("opened_by={}", one.id)).await, 2);
        assert_eq!((seen().await, end("organization=acme").await), (vec![false; 3], json!(0)));
    }

    // Requirements: 7009-01.
    async fn token_of_a_session_is_revoked_by_its_opener_without_disclosing_it(server: Server) {
        let [opener, other] = openers(&server).await;
        let stranger = server.client_key(&["keyswap:validate"]).await;
        let opened = open(&server, &opener.value, "self").await;
        let usual = revoke(&server, &stranger.value, &unknown()).await;
        assert_eq!(usual.0, StatusCode::OK);
        for value in [&opened.token, &opened.code, &wrong(&opened.token)] {
            assert_eq!(revoke(&server, &stranger.value, value).await, usual);
        }
        assert!(works(&server, &opened.token).await);
        assert_eq!(revoke(&server, &opener.value, &wrong(&opened.token)).await, usual);
        // Every kind of session can be revoked. A page ends alone, and so does a code.
        let page = cookie_of(&spend(&server, &opened.code).await);
        assert_eq!(revoke(&server, &opener.value, value_of(&page)).await, usual);
        assert_eq!((page_works(&server, &page).await, works(&server, &opened.token).await), (false, true));
        assert_eq!(revoke(&server, &opener.value, &opened.token).await, usual);
        assert!(!works(&server, &opened.token).await);
        // Another key that may end sessions can revoke them as well, and a key with a reduced scope its own.
        let second = open(&server, &opener.value, "self").await;
        assert_eq!(revoke(&server, &other.value, &second.code).await, usual);
        assert_eq!(spend(&server, &second.code).await.status(), 401);
        assert!(works(&server, &second.token).await);
        assert_eq!(revoke(&server, &other.value, &second.token).await, usual);
        assert!(!works(&server, &second.token).await);
    }

    async fn session_is_ended_while_its_user_or_its_opener_cannot_use_it(server: Server) {
        let [opener, other] = openers(&server).await;
        let step = async |step: &str| server.step(&opener, step).await;
        let block = async |blocked: bool| {
            server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": blocked })), 200).await;
        };
        for cause in ["user", "opener"] {
            let (ended, kept) = (open(&server, &opener.value, "self").await, open(&server, &opener.value, "self").await);
            let [page, kept_page] = [cookie_of(&spend(&server, &ended.code).await), cookie_of(&spend(&server, &kept.code).await)];
            if cause == "user" { block(true).await } else { step("suspend").await }
            let before = server.events().await.len();
            assert!(!works(&server, &ended.token).await && !page_works(&server, &page).await);
            let out = server.post("/portal/sign-out").header("cookie", &page).header("keyswap-page", "1").send().await.unwrap();
            assert_eq!(out.status(), 204);
            assert_eq!(revoke(&server, &other.value, &ended.token).await.0, StatusCode::OK);
            // A wrong token ends nothing.
            assert_eq!(revoke(&server, &other.value, &wrong(&kept.token)).await.0, StatusCode::OK);
            let own = |kind: &str| ("self".to_owned(), kind.to_owned());
            assert_eq!(ended_after(&server, before).await, [own("page"), own("token")], "{cause}");
            if cause == "user" { block(false).await } else { step("resume").await }
            assert_eq!([works(&server, &ended.token).await, page_works(&server, &page).await], [false; 2], "{cause}");
            assert_eq!([works(&server, &kept.token).await, page_works(&server, &kept_page).await], [true; 2], "{cause}");
        }
    }

    async fn no_page_survives_the_end_of_a_session_whose_code_is_spent_at_the_same_time(server: Server) {
        let [opener, _] = openers(&server).await;
        for round in 0..8 {
            let sessions = join_all((0..4).map(|_| open(&server, &opener.value, "self"))).await;
            let spent = join_all(sessions.iter().map(|session| spend(&server, &session.code)));
            let path = format!("{SESSIONS}?user=self");
            let (spent, ended) = tokio::join!(spent, call(&server, &opener.value, "DELETE", &path, None, &[]));
            assert_eq!(ended.status(), 200);
            // Codes that were spent after the end are refused. A page that began before is dead.
            for answer in spent.iter().filter(|answer| answer.status() == 204) {
                assert!(!page_works(&server, &cookie_of(answer)).await, "round {round}");
            }
            assert_eq!(count(&server, "&user=self").await, 0, "round {round}");
        }
    }
}

#[test]
fn code_that_expires_while_its_session_ends_opens_no_page() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        let [opener, _] = openers(&server).await;
        let replica = server.replica().await;
        // The exchange locks the row with the lower id first: only that of the code is to be held.
        let opened = loop {
            let opened = open(&server, &opener.value, "self").await;
            if opened.code[4..20] < opened.token[4..20] {
                break opened;
            }
        };
        // The code is verified, and its exchange waits for the row.
        let mut held = server.database.hold(1);
        held.sql(&format!("SELECT 1 FROM portal_sessions WHERE id = 'pss_{}' FOR UPDATE", &opened.code[4..20]));
        let sign_in = replica.post("/portal/sign-in").header("keyswap-page", "1").json(&json!({ "code": opened.code }));
        let sign_in = tokio::spawn(sign_in.send());
        let deadline = Instant::now() + Duration::from_secs(15);
        while server.database.waiting_for_rows() == 0 {
            assert!(Instant::now() < deadline, "the exchange does not wait");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        // The code has expired meanwhile, so the end of the session does not include it.
        server.advance(61);
        let path = format!("{SESSIONS}/{}", opened.id);
        assert_eq!(call(&server, &opener.value, "DELETE", &path, None, &[]).await.status(), 204);
        held.release();
        problem(sign_in.await.unwrap().unwrap(), 401, "invalid_token").await;
        let left = read_pages(&server, SESSIONS, 100).await;
        assert!(
            left.iter().all(|session| session["kind"] == "token" && session["id"] != opened.id.as_str()),
            "{left:?}"
        );
    });
}
