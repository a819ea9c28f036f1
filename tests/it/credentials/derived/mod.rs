//! Everything that is derived from a key or a user ends with it and with nothing else: each derived
//! credential, times each end of what it was derived from (invariant 13).

mod fixture;

use std::time::Duration;

use keyswap::domain::common::time::Span;
use serde_json::{Value, json};

use crate::support::{Key, Server, both, calls::call, wire::form};
use fixture::{Derived, Opener, open};

/// An end, and what works after it (`Derived::seen`).
const ENDS: [(&str, &str); 27] = [
    ("nothing", "WWW WWW WW"),
    // The opener. What was made with it lives on.
    ("opener revoked", "RRR WWW RR"),
    ("opener suspended", "RRR WWW RR"),
    ("opener suspended and resumed", "WWW WWW WW"),
    ("opener expired", "RRR WWW RR"),
    ("opener deleted", "RRR WWW RR"),
    ("opener rotated", "WWW WWW WW"),
    // A token depends on the credential that it was issued from, a session on the key alone.
    ("opener rotated without grace", "WWW WWW RR"),
    ("permission of the opener removed", "RRR WWW FW"),
    ("opener limited to another audience", "RRR WWW FW"),
    ("permission of the service client removed", "RRR WWW FW"),
    ("service client deleted", "RRR WWW RR"),
    ("opener revoked with its descendants", "RRR RRR RR"),
    // The key that made the opener.
    ("maker revoked", "WWW WWW WW"),
    ("maker deleted", "WWW WWW WW"),
    ("maker rotated without grace", "WWW WWW WW"),
    ("maker revoked with its descendants", "RRR RRR RR"),
    // The user.
    ("user blocked", "RRR WRW WW"),
    ("user locked", "RRR WRW WW"),
    ("user deleted", "RRR WRW WW"),
    ("member removed", "RRR WRW WW"),
    ("organization deleted", "RRR WRR WW"),
    ("permissions of the user removed", "FFW WWW WW"),
    // The session. It ends with the page session that its own code opened.
    ("session ended", "RRW WWW WW"),
    ("session revoked", "RRW WWW WW"),
    ("sessions of the user ended", "RRR WWW WW"),
    ("sessions of the opener ended", "RRR WWW WW"),
];

/// Brings about an end and returns the status of the request that does so.
async fn bring_about(server: &Server, end: &str, made: &Derived) -> u16 {
    let manage = async |method: &str, path: String, body: Option<Value>| {
        call(server, &server.admin, method, &path, body, &[]).await.status().as_u16()
    };
    let of = |key: &Key, rest: &str| format!("/v1/api-keys/{}{rest}", key.id);
    let (opener, maker) = (&made.opener, &made.maker);
    let (client, user) = (format!("/v1/service-clients/{}", opener.client), format!("/v1/users/{}", made.user));
    let organization = format!("/v1/organizations/{}", made.organization);
    let without_grace = Some(json!({ "grace": "0s" }));
    let descendants = Some(json!({ "descendants": true }));
    let narrow = Some(json!({ "permissions": ["projects:read"] }));
    match end {
        "nothing" => 200,
        "opener revoked" => manage("POST", of(opener, "/revoke"), None).await,
        "opener suspended" => manage("POST", of(opener, "/suspend"), None).await,
        "opener suspended and resumed" => {
            manage("POST", of(opener, "/suspend"), None).await;
            manage("POST", of(opener, "/resume"), None).await
        }
        "opener expired" => {
            let end = server.services.store.now().await.unwrap().plus(Span::from_secs(1));
            let status = manage("PATCH", of(opener, ""), Some(json!({ "expires_at": end.to_string() }))).await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
            status
        }
        "opener deleted" => manage("DELETE", of(opener, ""), None).await,
        "opener rotated" => manage("POST", of(opener, "/rotate"), None).await,
        "opener rotated without grace" => manage("POST", of(opener, "/rotate"), without_grace).await,
        "permission of the opener removed" => manage("PATCH", of(opener, ""), narrow).await,
        "opener limited to another audience" => {
            manage("PATCH", of(opener, ""), Some(json!({ "audiences": ["http://keyswap.test"] }))).await
        }
        "permission of the service client removed" => manage("PATCH", client, narrow).await,
        "service client deleted" => manage("DELETE", client, None).await,
        "opener revoked with its descendants" => manage("POST", of(opener, "/revoke"), descendants).await,
        "maker revoked" => manage("POST", of(maker, "/revoke"), None).await,
        "maker deleted" => manage("DELETE", of(maker, ""), None).await,
        "maker rotated without grace" => manage("POST", of(maker, "/rotate"), without_grace).await,
        "maker revoked with its descendants" => manage("POST", of(maker, "/revoke"), descendants).await,
        "user blocked" => manage("PATCH", user, Some(json!({ "blocked": true }))).await,
        "user locked" => manage("POST", format!("{user}/lock"), None).await,
        "user deleted" => manage("DELETE", user, None).await,
        "member removed" => manage("DELETE", format!("{organization}/members/{}", made.user), None).await,
        "organization deleted" => manage("DELETE", organization, None).await,
        "permissions of the user removed" => manage("PUT", format!("/v1/roles/{}", made.role), narrow).await,
        "session ended" => manage("DELETE", format!("/v1/portal-sessions/{}", made.session.id), None).await,
        "session revoked" => {
            let request = server.post("/oauth/revoke").bearer_auth(&opener.value);
            form(request, &[("token", &made.session.token)]).send().await.unwrap().status().as_u16()
        }
        "sessions of the user ended" => manage("DELETE", format!("/v1/portal-sessions?user={}", made.user), None).await,
        "sessions of the opener ended" => {
            manage("DELETE", format!("/v1/portal-sessions?opened_by={}", opener.id), None).await
        }
        other => panic!("{other} is not an end"),
    }
}

/// Compares what works after each end with the table, for sessions opened by `opener`. The ends are
/// brought about on one server, and seen at once on another one.
async fn compare(server: &Server, opener: Opener) {
    let (replica, mut faults) = (server.replica().await, Vec::new());
    for (at, (end, expected)) in ENDS.into_iter().enumerate() {
        let made = Derived::new(server, &at.to_string(), opener).await;
        let status = bring_about(server, end, &made).await;
        let seen = made.seen(&replica).await;
        if seen != expected || !(200..300).contains(&status) {
            faults.push(format!("{end}: answered {status}, expected {expected}, seen {seen}"));
        }
    }
    assert!(faults.is_empty(), "{opener:?}\n{}", faults.join("\n"));
}

both! {
    async fn derived_credentials_of_a_key_end_with_what_they_depend_on(server: Server) {
        compare(&server, Opener::Key).await;
    }

    async fn derived_credentials_of_a_token_end_with_what_they_depend_on(server: Server) {
        compare(&server, Opener::ManagementToken).await;
    }

    async fn revoking_the_first_administrator_stops_nothing_that_it_made(server: Server) {
        let mut server = server;
        let first = server.manage("GET", "/v1/api-keys", None, 200).await["data"][0]["id"].as_str().unwrap().to_owned();
        let made = Derived::made_by(&server, &Key { id: first.clone(), value: server.admin.clone(), client: String::new() }, "0", Opener::Key).await;
        let second = server.client_key(&["keyswap:admin"]).await;
        server.admin = second.value;
        server.manage("POST", &format!("/v1/api-keys/{first}/revoke"), None, 200).await;
        assert_eq!(made.seen(&server).await, "WWW WWW WW");
    }

    async fn revoked_management_token_ends_no_session_that_it_opened(server: Server) {
        // A session depends on the key of a token, and a token with a reduced scope can open sessions.
        let made = Derived::new(&server, "0", Opener::Key).await;
        let token = made.reduced_token(&server, "keyswap:keys").await;
        let opened = open(&server, &token, &made.user, &made.organization).await;
        let revoke = form(server.post("/oauth/revoke").bearer_auth(&made.opener.value), &[("token", &token)]);
        assert_eq!(revoke.send().await.unwrap().status(), 200);
        let current = async || call(&server, &opened.token, "GET", "/v1/portal-sessions/current", None, &[]).await.status().as_u16();
        assert_eq!(current().await, 200);
        server.step(&made.opener, "revoke").await;
        assert_eq!(current().await, 401);
        // A token without the permission opens none.
        let narrow = Derived::new(&server, "1", Opener::Key).await;
        let token = narrow.reduced_token(&server, "projects:read").await;
        let body = json!({ "user_id": narrow.user });
        assert_eq!(call(&server, &token, "POST", "/v1/portal-sessions", Some(body), &[]).await.status(), 401, "no token for /v1");
    }
}
