//! Open sessions of a user: `limits.sessions_per_user`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    cookie_of,
    hosted_pages::spend,
    key_management::people,
    sessions::{SESSIONS, open, page_works, works},
};
use crate::support::{Kind, Server, both, race::race};

/// The type, the kind and the cause of the events after the first `count` events.
async fn described_events_after(server: &Server, count: usize) -> Vec<(Value, Value, Value)> {
    let events = server.events().await.split_off(count);
    let described = |event: &Value| (event["type"].clone(), event["data"]["kind"].clone(), event["cause"].clone());
    events.iter().map(described).collect()
}

both! {
    async fn opening_a_further_session_ends_the_oldest(server: Server, "limits.sessions_per_user=2") {
        people(&server).await;
        let opener = server.client_key(&["keyswap:sessions"]).await;
        let next = async |user: &str| {
            server.advance(1);
            open(&server, &opener.value, user).await
        };
        let first = next("self").await;
        let page = cookie_of(&spend(&server, &first.code).await);
        let second = next("self").await;
        assert!(works(&server, &first.token).await && page_works(&server, &page).await);
        let before = server.events().await.len();
        let third = next("self").await;
        assert_eq!([works(&server, &first.token).await, page_works(&server, &page).await], [false; 2]);
        assert_eq!([works(&server, &second.token).await, works(&server, &third.token).await], [true; 2]);
        let mut events = described_events_after(&server, before).await;
        let opened = events.pop().unwrap();
        assert_eq!(opened, (json!("portal_session.created"), json!("token"), Value::Null));
        // In the order of their ids, which are random.
        events.sort_by_key(|(_, kind, _)| kind.to_string());
        let ended = |kind: &str| (json!("portal_session.ended"), json!(kind), json!("limit_reached"));
        assert_eq!(events, [ended("page"), ended("token")]);
        // Sessions of other users, and of the user elsewhere, have limits of their own.
        next("manager").await;
        for _ in 0..2 {
            server.manage("POST", SESSIONS, Some(json!({ "user_id": "self" })), 201).await;
        }
        assert_eq!([works(&server, &second.token).await, works(&server, &third.token).await], [true; 2]);
        // A session that ended does not count.
        server.manage("DELETE", &format!("{SESSIONS}/{}", third.id), None, 204).await;
        let fourth = next("self").await;
        assert_eq!([works(&server, &second.token).await, works(&server, &fourth.token).await], [true; 2]);
        // Neither does one that expired.
        server.advance(15 * 60);
        let before = server.events().await.len();
        let (fifth, sixth) = (next("self").await, next("self").await);
        assert_eq!([works(&server, &fifth.token).await, works(&server, &sixth.token).await], [true; 2]);
        let events = described_events_after(&server, before).await;
        assert!(events.iter().all(|(kind, ..)| kind == "portal_session.created"), "{events:?}");
    }

    async fn concurrent_sessions_do_not_exceed_the_limit(server: Server, "limits.sessions_per_user=1") {
        people(&server).await;
        let replica = server.replica().await;
        let body = json!({ "user_id": "self", "organization_id": "acme" });
        let request = |to: &Server| to.post(SESSIONS).bearer_auth(&to.admin).json(&body);
        let answers = race([(&server, request(&server)), (&replica, request(&replica))]).await;
        assert_eq!(answers.map(|answer| answer.status()), [StatusCode::CREATED; 2]);
        let open = server.manage("GET", &format!("{SESSIONS}?user=self"), None, 200).await;
        let kinds: Vec<_> = open["data"].as_array().unwrap().iter().map(|session| session["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "token").count(), 1, "{kinds:?}");
        assert_eq!(kinds.len(), 2, "with its code: {kinds:?}");
    }

    async fn page_session_that_is_opened_at_the_same_time_ends_too(server: Server, "limits.sessions_per_user=1") {
        people(&server).await;
        let replica = server.replica().await;
        let opener = server.client_key(&["keyswap:sessions"]).await;
        let first = open(&server, &opener.value, "self").await;
        let sign_in = server.post("/portal/sign-in").header("keyswap-page", "1").json(&json!({ "code": first.code }));
        let body = json!({ "user_id": "self", "organization_id": "acme" });
        let further = replica.post(SESSIONS).bearer_auth(&replica.admin).json(&body);
        let [signed_in, further] = race([(&server, sign_in), (&replica, further)]).await;
        assert_eq!(further.status(), StatusCode::CREATED);
        assert!(!works(&server, &first.token).await);
        match signed_in.status() {
            StatusCode::NO_CONTENT => assert!(!page_works(&server, &cookie_of(&signed_in)).await),
            // On SQLite the order of the changes is undefined.
            status => assert_eq!((status, server.database.kind), (StatusCode::UNAUTHORIZED, Kind::Sqlite)),
        }
    }

    async fn lowered_limit_is_reached_step_by_step(server: Server, "limits.sessions_per_user=0") {
        people(&server).await;
        let opener = server.client_key(&["keyswap:sessions"]).await;
        for _ in 0..23 {
            open(&server, &opener.value, "self").await;
        }
        let limited = Server::on(server.database.clone(), &["limits.sessions_per_user=2"]).await;
        let count = async || {
            let page = server.manage("GET", &format!("{SESSIONS}?user=self&limit=100"), None, 200).await;
            page["data"].as_array().unwrap().iter().filter(|session| session["kind"] == "token").count()
        };
        assert_eq!(count().await, 23, "no limit");
        open(&limited, &opener.value, "self").await;
        assert_eq!(count().await, 4, "at most 20 end at once");
        open(&limited, &opener.value, "self").await;
        assert_eq!(count().await, 2);
    }
}
