//! Changes per minute: `limits.changes_per_owner` and `limits.changes_per_organization`. The limits
//! of the tests are 1, so that the next change is admitted after a whole minute.

use keyswap::{
    domain::common::time::Span,
    http::oauth_error::OAuthError,
    service::{
        Error,
        common::change_limiter::{ChangeKind, ChangeQuota, TooManyChanges},
    },
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    portal::key_management::{call, people, session},
    support::{
        Server, body_of, both,
        wire::{form, problem},
    },
};

/// Requests a key of the caller.
async fn request_key(server: &Server, credential: &str) -> Response {
    call(server, credential, "POST", "/v1/api-keys", Some(json!({ "name": "a key", "permissions": [] }))).await
}

async fn create_key(server: &Server, credential: &str) -> Value {
    body_of(request_key(server, credential).await, StatusCode::CREATED).await
}

async fn assert_limited(answer: Response, setting: &str) {
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let detail = problem(answer, 429, "rate_limited").await["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("may make 1 per minute ({setting}); try again in {wait} s")), "{detail}");
}

const PER_OWNER: &str = "limits.changes_per_owner";
const PER_ORGANIZATION: &str = "limits.changes_per_organization";

both! {
    async fn owner_with_too_many_changes_waits(server: Server, "limits.changes_per_owner=1") {
        people(&server).await;
        let owner = json!({ "type": "user", "id": "self", "organization_id": "acme" });
        let own = server.key_of(owner.clone(), &["user-api-keys:manage-self"]).await;
        let rotated = format!("/v1/api-keys/{}", server.key_of(owner.clone(), &[]).await.id);
        server.manage("POST", &format!("{rotated}/rotate"), Some(json!({ "grace": "1h" })), 200).await;
        let token = session(&server, "self", "acme").await;
        let key = create_key(&server, &token).await;
        let before = server.events().await.len();
        // The credentials of one owner share its limit.
        for credential in [&token, &own.value] {
            assert_limited(request_key(&server, credential).await, PER_OWNER).await;
        }
        let on_behalf = server.on_behalf("self; organization=acme", "POST", "/v1/api-keys");
        let on_behalf = on_behalf.json(&json!({ "name": "a key", "permissions": [] }));
        assert_limited(on_behalf.send().await.unwrap(), PER_OWNER).await;
        assert_eq!(server.events().await.len(), before);
        assert_eq!(call(&server, &token, "GET", "/v1/api-keys", None).await.status(), 200, "reading is not limited");
        // Other users, the same user elsewhere, and the administrator.
        create_key(&server, &session(&server, "manager", "acme").await).await;
        server.role("self-at-home", &["user-api-keys:manage-self"]).await;
        server.user("self", &["self-at-home"]).await;
        let at_home = server.on_behalf("self", "POST", "/v1/api-keys").json(&json!({ "name": "a key", "permissions": [] }));
        assert_eq!(at_home.send().await.unwrap().status(), 201);
        for _ in 0..5 {
            server.key_of(owner.clone(), &[]).await;
        }
        // Keys can always be ended.
        let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
        assert_eq!(call(&server, &token, "POST", &format!("{path}/suspend"), None).await.status(), 200);
        assert_limited(call(&server, &token, "POST", &format!("{path}/resume"), None).await, PER_OWNER).await;
        assert_eq!(call(&server, &token, "POST", &format!("{path}/revoke"), None).await.status(), 200);
        assert_eq!(call(&server, &token, "DELETE", &path, None).await.status(), 204);
        assert_eq!(call(&server, &token, "POST", &format!("{rotated}/cancel-rotation"), None).await.status(), 200);
        let revoke = form(server.post("/oauth/revoke").bearer_auth(&own.value), &[("token", &own.value)]);
        assert_eq!(revoke.send().await.unwrap().status(), 200);
        assert_eq!(server.exchange(&own.value).await.status(), 401);
    }

    async fn ends_are_limited_on_their_own(server: Server, "limits.changes_per_owner=1") {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        // Neither a repeated end nor an unknown key makes a change.
        let path = format!("/v1/api-keys/{}", create_key(&server, &token).await["id"].as_str().unwrap());
        let unknown = "/v1/api-keys/key_01JG0000000000000000000000";
        let mut ended = 0;
        let refused = loop {
            let (method, path, status) = match ended % 2 {
                0 => ("POST", format!("{path}/suspend"), 200),
                _ => ("DELETE", unknown.to_owned(), 404),
            };
            let answer = call(&server, &token, method, &path, None).await;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                break answer;
            }
            assert_eq!(answer.status(), status);
            ended += 1;
            assert!(ended < 30, "10 are permitted at once, and one more every 6 s");
        };
        assert!(ended >= 10, "{ended}");
        let detail = problem(refused, 429, "rate_limited").await["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("an owner may make 10 per minute (10 times limits.changes_per_owner)"), "{detail}");
        // An operator can always end keys.
        server.manage("POST", &format!("{path}/revoke"), None, 200).await;
    }

    async fn organization_with_too_many_changes_waits(server: Server, "limits.changes_per_organization=1") {
        people(&server).await;
        let tokens = [session(&server, "self", "acme").await, session(&server, "manager", "acme").await];
        create_key(&server, &tokens[0]).await;
        for token in &tokens {
            assert_limited(request_key(&server, token).await, PER_ORGANIZATION).await;
        }
        create_key(&server, &session(&server, "eve", "umbrella").await).await;
        for _ in 0..5 {
            server.key_of(json!({ "type": "organization", "id": "acme" }), &[]).await;
        }
    }
}

#[test]
fn too_many_changes_have_a_form_on_oauth_paths() {
    let (quota, kind, retry_after) = (ChangeQuota::Owner, ChangeKind::Change, Span::from_millis(1));
    let refused = TooManyChanges { quota, kind, maximum: 600, retry_after };
    let error = OAuthError::from_service_error(&Error::TooManyChanges(refused));
    let text = "too many changes: an owner may make 600 per minute (limits.changes_per_owner); try again in 1 s";
    assert_eq!(error.to_string(), format!("temporarily_unavailable: {text}"));
}
