//! Changes per minute: `limits.changes_per_owner` and `limits.changes_per_organization`. The limits
//! of the tests are 1, so that the next change is admitted after a whole minute.

use keyswap::{
    domain::common::time::Span,
    http::oauth_error::OAuthError,
    service::{
        Error,
        common::quota::{ChangeQuota, TooManyChanges},
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

/// Creates a key of the caller.
async fn create(server: &Server, credential: &str) -> Response {
    call(server, credential, "POST", "/v1/api-keys", Some(json!({ "name": "a key", "permissions": [] }))).await
}

async fn created(server: &Server, credential: &str) -> Value {
    body_of(create(server, credential).await, StatusCode::CREATED).await
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
        let token = session(&server, "self", "acme").await;
        let key = created(&server, &token).await;
        let before = server.events().await.len();
        // The credentials of one owner share its limit.
        for credential in [&token, &own.value] {
            assert_limited(create(&server, credential).await, PER_OWNER).await;
        }
        let on_behalf = server.on_behalf("self; organization=acme", "POST", "/v1/api-keys");
        let on_behalf = on_behalf.json(&json!({ "name": "a key", "permissions": [] }));
        assert_limited(on_behalf.send().await.unwrap(), PER_OWNER).await;
        assert_eq!(server.events().await.len(), before);
        assert_eq!(call(&server, &token, "GET", "/v1/api-keys", None).await.status(), 200, "reading is not limited");
        // Other users, the same user elsewhere, and the administrator.
        created(&server, &session(&server, "manager", "acme").await).await;
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
        let revoke = form(server.post("/oauth/revoke").bearer_auth(&own.value), &[("token", &own.value)]);
        assert_eq!(revoke.send().await.unwrap().status(), 200);
        assert_eq!(server.exchange(&own.value).await.status(), 401);
    }

    async fn organization_with_too_many_changes_waits(server: Server, "limits.changes_per_organization=1") {
        people(&server).await;
        let tokens = [session(&server, "self", "acme").await, session(&server, "manager", "acme").await];
        created(&server, &tokens[0]).await;
        for token in &tokens {
            assert_limited(create(&server, token).await, PER_ORGANIZATION).await;
        }
        created(&server, &session(&server, "eve", "umbrella").await).await;
        for _ in 0..5 {
            server.key_of(json!({ "type": "organization", "id": "acme" }), &[]).await;
        }
    }
}

#[test]
fn too_many_changes_have_a_form_on_oauth_paths() {
    let refused = TooManyChanges { quota: ChangeQuota::Owner, maximum: 600, retry_after: Span::from_millis(1) };
    let error = OAuthError::from_service_error(&Error::TooManyChanges(refused));
    let text = "too many changes: you may make 600 per minute (limits.changes_per_owner); try again in 1 s";
    assert_eq!(error.to_string(), format!("temporarily_unavailable: {text}"));
}
