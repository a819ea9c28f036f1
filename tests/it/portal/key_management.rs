//! Key management by users: through portal sessions, with their own keys, and through a back end
//! that calls on their behalf.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Key, Server, body_of, both,
    wire::{checksummed, problem, snapshot, unknown, wrong},
};

/// Creates a permission that is assignable to the owner types in `to`.
pub async fn permission(server: &Server, name: &str, to: &[&str]) {
    put(server, &format!("/v1/permissions/{name}"), json!({ "assignable_to": to })).await;
}

pub async fn put(server: &Server, path: &str, body: Value) -> Value {
    let answer = server.http.put(server.url(path)).bearer_auth(&server.admin).json(&body).send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{path}: {status} {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

pub async fn call(server: &Server, credential: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    call_for(server, credential, None, method, path, body).await
}

async fn call_for(
    server: &Server,
    credential: &str,
    user: Option<&str>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Response {
    let mut request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(credential);
    if let Some(user) = user {
        request = request.header("keyswap-on-behalf-of", user);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

pub async fn member(server: &Server, organization: &str, user: &str, roles: &[&str]) {
    put(server, &format!("/v1/organizations/{organization}/members/{user}"), json!({ "roles": roles })).await;
}

/// Creates the organizations `acme` and `umbrella`. Members of `acme`: `self` manages their own
/// keys, `manager` those of the organization, `overseer` may view and revoke all of them, and
/// `reader` manages none. `eve` has all these permissions at `umbrella`.
pub async fn people(server: &Server) {
    server.offer_management_permissions().await;
    let all = ["user", "organization", "service_client"];
    permission(server, "projects:read", &all).await;
    permission(server, "projects:write", &all).await;
    permission(server, "internal", &["service_client"]).await;
    for (role, permissions) in [
        ("self", vec!["user-api-keys:manage-self", "projects:read", "internal"]),
        ("manager", vec!["api-keys:manage", "projects:read"]),
        ("overseer", vec!["user-api-keys:manage-all"]),
        ("reader", vec!["projects:read", "projects:write"]),
    ] {
        put(server, &format!("/v1/roles/{role}"), json!({ "permissions": permissions })).await;
    }
    for organization in ["acme", "umbrella"] {
        put(server, &format!("/v1/organizations/{organization}"), json!({ "name": organization })).await;
    }
    for user in ["self", "manager", "overseer", "reader"] {
        put(server, &format!("/v1/users/{user}"), json!({})).await;
        member(server, "acme", user, &[user]).await;
    }
    put(server, "/v1/users/eve", json!({})).await;
    member(server, "umbrella", "eve", &["self", "manager", "overseer"]).await;
}

pub async fn session(server: &Server, user: &str, organization: &str) -> String {
    let body = json!({ "user_id": user, "organization_id": organization });
    let opened = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
    opened["token"].as_str().unwrap().to_owned()
}

/// Creates a personal key within `acme`.
pub async fn personal(server: &Server, user: &str, permissions: &[&str]) -> Key {
    let owner = json!({ "type": "user", "id": user, "organization_id": "acme" });
    server.key(json!({ "name": "personal", "owner": owner, "permissions": permissions })).await
}

pub async fn of_organization(server: &Server, organization: &str, permissions: &[&str]) -> Key {
    let owner = json!({ "type": "organization", "id": organization });
    server.key(json!({ "name": "the organization's", "owner": owner, "permissions": permissions })).await
}

/// Creates a key with `credential` and asserts the status.
async fn make(server: &Server, credential: &str, body: Value, status: u16) -> Value {
    let answer = call(server, credential, "POST", "/v1/api-keys", Some(body)).await;
    body_of(answer, StatusCode::from_u16(status).unwrap()).await
}

async fn status(server: &Server, credential: &str, method: &str, path: &str) -> u16 {
    call(server, credential, method, path, None).await.status().as_u16()
}

fn path(key: &Key) -> String {
    format!("/v1/api-keys/{}", key.id)
}

/// The sorted ids of the listed keys.
async fn listed(server: &Server, credential: &str) -> Vec<String> {
    let page = body_of(call(server, credential, "GET", "/v1/api-keys", None).await, StatusCode::OK).await;
    let mut ids: Vec<_> =
        page["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn ids(keys: &[&Key]) -> Vec<String> {
    let mut ids: Vec<_> = keys.iter().map(|key| key.id.clone()).collect();
    ids.sort();
    ids
}

/// All parts of a response that could reveal the reason for a refusal.
async fn refusal(server: &Server, credential: &str, method: &str, path: &str) -> (StatusCode, Vec<String>, String) {
    snapshot(call(server, credential, method, path, None).await).await
}

const UNKNOWN_USER: &str = "/v1/api-keys/key_01JD0000000000000000000000";

both! {
    // Features: W1.
    async fn user_creates_and_revokes_own_keys(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        let made = make(&server, &token, json!({ "name": "laptop", "permissions": ["projects:read"] }), 201).await;
        assert_eq!(made["owner"], json!({ "type": "user", "id": "self", "organization_id": "acme" }));
        assert_eq!(made["created_by"], json!({ "type": "user", "id": "self" }));
        let event = server.events().await.pop().unwrap();
        assert_eq!((&event["actor"]["type"], &event["on_behalf_of"]), (&json!("portal_session"), &json!("self")), "{event}");
        let value = made["value"].as_str().unwrap();
        let body = body_of(server.exchange(value).await, StatusCode::OK).await;
        assert_eq!(body["scope"], "projects:read");
        assert_eq!(listed(&server, &token).await, [made["id"].as_str().unwrap()]);
        let revoke = format!("/v1/api-keys/{}/revoke", made["id"].as_str().unwrap());
        assert_eq!(status(&server, &token, "POST", &revoke).await, 200);
        assert_eq!(server.exchange(value).await.status(), 401);
    }

    // Features: W2.
    async fn key_has_the_selected_permissions(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        let none = make(&server, &token, json!({ "name": "a" }), 201).await;
        assert_eq!(none["permissions"], json!([]));
        // The refusal names each permission with its reason: the user does not hold it, or user
        // keys may not carry it.
        let wanted = json!({ "name": "a", "permissions": ["projects:read", "projects:write", "internal"] });
        let refused = make(&server, &token, wanted, 422).await;
        let text = refused["errors"].to_string();
        assert!(text.contains("you cannot grant projects:write"), "{text}");
        assert!(text.contains("internal cannot be assigned to a user") && !text.contains("projects:read"), "{text}");
        let id = none["id"].as_str().unwrap();
        let patch = json!({ "permissions": ["projects:write"] });
        assert_eq!(call(&server, &token, "PATCH", &format!("/v1/api-keys/{id}"), Some(patch)).await.status(), 422);
    }

    // Features: W7.
    async fn manage_self_covers_own_keys_only(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        let (own, other, whole) = (
            personal(&server, "self", &[]).await, personal(&server, "reader", &[]).await, of_organization(&server, "acme", &[]).await,
        );
        assert_eq!(listed(&server, &token).await, ids(&[&own]));
        for step in ["suspend", "resume", "rotate", "revoke"] {
            assert_eq!(status(&server, &token, "POST", &format!("{}/{step}", path(&own))).await, 200, "{step}");
        }
        for key in [&other, &whole] {
            for (method, step) in [("GET", ""), ("DELETE", ""), ("POST", "/revoke"), ("POST", "/rotate")] {
                let hidden = refusal(&server, &token, method, &format!("{}{step}", path(key))).await;
                assert_eq!(hidden, refusal(&server, &token, method, &format!("{UNKNOWN_USER}{step}")).await);
                assert_eq!(hidden.0, 404);
            }
        }
        make(&server, &token, json!({ "name": "a", "owner": { "type": "organization" } }), 422).await;
    }

    // Features: W7.
    async fn manage_covers_keys_of_the_organization_only(server: Server) {
        people(&server).await;
        let token = session(&server, "manager", "acme").await;
        let (personal, whole, elsewhere) = (
            personal(&server, "manager", &[]).await, of_organization(&server, "acme", &[]).await, of_organization(&server, "umbrella", &[]).await,
        );
        assert_eq!(listed(&server, &token).await, ids(&[&whole]));
        for step in ["suspend", "resume", "rotate", "revoke"] {
            assert_eq!(status(&server, &token, "POST", &format!("{}/{step}", path(&whole))).await, 200, "{step}");
        }
        for key in [&personal, &elsewhere] {
            let hidden = refusal(&server, &token, "GET", &path(key)).await;
            assert_eq!(hidden, refusal(&server, &token, "GET", UNKNOWN_USER).await);
        }
        make(&server, &token, json!({ "name": "a", "owner": { "type": "user" } }), 422).await;
    }

    // Features: W7.
    async fn nothing_is_managed_without_a_management_permission(server: Server) {
        people(&server).await;
        let token = session(&server, "reader", "acme").await;
        for (method, path, body) in [
            ("GET", "/v1/api-keys", None), ("POST", "/v1/api-keys", Some(json!({ "name": "a" }))), ("GET", "/v1/permissions", None),
            ("GET", UNKNOWN_USER, None), ("GET", "/v1/service-clients", None), ("GET", "/v1/users/reader", None), ("GET", "/v1/events", None),
        ] {
            problem(call(&server, &token, method, path, body).await, 403, "forbidden").await;
        }
    }

    // Features: D1.
    async fn page_access_follows_the_role(server: Server) {
        people(&server).await;
        let token = session(&server, "reader", "acme").await;
        let refused = problem(call(&server, &token, "GET", "/v1/api-keys", None).await, 403, "forbidden").await;
        assert!(refused["detail"].as_str().unwrap().contains("api-keys:manage"), "{refused}");
        member(&server, "acme", "reader", &["self"]).await;
        assert_eq!(status(&server, &token, "GET", "/v1/api-keys").await, 200, "at once, in the same session");
        member(&server, "acme", "reader", &[]).await;
        assert_eq!(status(&server, &token, "GET", "/v1/api-keys").await, 403);
    }

    // Features: W10.
    async fn keys_belong_to_the_organization_unless_the_user_manages_own_keys_only(server: Server) {
        people(&server).await;
        member(&server, "acme", "self", &["self", "manager"]).await;
        let both = session(&server, "self", "acme").await;
        let made = make(&server, &both, json!({ "name": "a" }), 201).await;
        assert_eq!(made["owner"], json!({ "type": "organization", "id": "acme", "organization_id": "acme" }));
        let made = make(&server, &both, json!({ "name": "a", "owner": { "type": "user" } }), 201).await;
        assert_eq!(made["owner"], json!({ "type": "user", "id": "self", "organization_id": "acme" }));
        let manager = session(&server, "manager", "acme").await;
        assert_eq!(make(&server, &manager, json!({ "name": "a" }), 201).await["owner"]["type"], "organization");
    }

    // Features: W11.
    async fn owner_of_a_key_follows_from_the_session(server: Server) {
        people(&server).await;
        let client = server.client_key(&[]).await;
        member(&server, "acme", "self", &["self", "manager"]).await;
        let token = session(&server, "self", "acme").await;
        for owner in [
            json!({ "type": "user", "id": "reader" }), json!({ "type": "user", "id": "eve", "organization_id": "umbrella" }),
            json!({ "type": "user", "id": "absent" }), json!({ "type": "organization", "id": "umbrella" }),
            json!({ "type": "organization", "id": "nowhere" }), json!({ "type": "service_client", "id": client.client }),
            json!({ "type": "none" }),
        ] {
            let refused = make(&server, &token, json!({ "name": "a", "owner": owner }), 422).await;
            let said = json!([{ "field": "owner", "message": "there is no such owner, or you may not create keys for it" }]);
            assert_eq!(refused["errors"], said, "{owner}: existing and missing owners are indistinguishable");
        }
        let own = json!({ "type": "user", "id": "self", "organization_id": "acme" });
        make(&server, &token, json!({ "name": "a", "owner": own }), 201).await;
    }

    // Features: W25.
    async fn manage_all_sees_and_revokes_every_key_of_the_organization(server: Server) {
        people(&server).await;
        let creator = session(&server, "manager", "acme").await;
        let made = make(&server, &creator, json!({ "name": "the leaver's", "permissions": ["projects:read"] }), 201).await;
        let left = Key {
            id: made["id"].as_str().unwrap().to_owned(), value: made["value"].as_str().unwrap().to_owned(), client: "acme".to_owned(),
        };
        server.manage("DELETE", "/v1/organizations/acme/members/manager", None, 204).await;
        let (personal, elsewhere) = (personal(&server, "self", &[]).await, of_organization(&server, "umbrella", &[]).await);
        let token = session(&server, "overseer", "acme").await;
        assert_eq!(listed(&server, &token).await, ids(&[&left, &personal]));
        for key in [&left, &personal] {
            // Only the owner may perform operations that extend what a key can do.
            for (method, step, body) in [
                ("POST", "/rotate", None), ("POST", "/resume", None), ("PATCH", "", Some(json!({ "name": "mine" }))),
            ] {
                problem(call(&server, &token, method, &format!("{}{step}", path(key)), body).await, 403, "forbidden").await;
            }
            assert_eq!(status(&server, &token, "POST", &format!("{}/suspend", path(key))).await, 200);
            assert_eq!(status(&server, &token, "POST", &format!("{}/revoke", path(key))).await, 200);
            assert_eq!(server.exchange(&key.value).await.status(), 401);
        }
        for owner in [json!({ "type": "user", "id": "self" }), json!({ "type": "organization" }), json!({ "type": "user" })] {
            make(&server, &token, json!({ "name": "a", "owner": owner }), 422).await;
        }
        for (method, step) in [("GET", ""), ("POST", "/revoke"), ("DELETE", "")] {
            let hidden = refusal(&server, &token, method, &format!("{}{step}", path(&elsewhere))).await;
            assert_eq!(hidden, refusal(&server, &token, method, &format!("{UNKNOWN_USER}{step}")).await);
        }
    }

    async fn session_ends_with_its_user(server: Server) {
        people(&server).await;
        let get = async |token: &str| status(&server, token, "GET", "/v1/api-keys").await;
        let blocked = session(&server, "self", "acme").await;
        assert_eq!(get(&blocked).await, 200);
        server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": true })), 200).await;
        assert_eq!(get(&blocked).await, 401, "at once");
        server.manage("PATCH", "/v1/users/self", Some(json!({ "blocked": false })), 200).await;
        assert_eq!(get(&blocked).await, 200);

        let left = session(&server, "manager", "acme").await;
        server.manage("DELETE", "/v1/organizations/acme/members/manager", None, 204).await;
        assert_eq!(get(&left).await, 401);
        member(&server, "acme", "manager", &["manager"]).await;
        assert_eq!(get(&left).await, 401, "who has come back is another member");

        let deleted = session(&server, "overseer", "acme").await;
        server.manage("DELETE", "/v1/users/overseer", None, 204).await;
        assert_eq!(get(&deleted).await, 401);
        put(&server, "/v1/users/overseer", json!({})).await;
        member(&server, "acme", "overseer", &["overseer"]).await;
        assert_eq!(get(&deleted).await, 401);

        let gone = session(&server, "eve", "umbrella").await;
        server.manage("DELETE", "/v1/organizations/umbrella", None, 204).await;
        assert_eq!(get(&gone).await, 401);

        server.advance(14 * 60);
        assert_eq!(get(&blocked).await, 200);
        server.advance(61);
        assert_eq!(get(&blocked).await, 401, "by the database's clock");
    }

    async fn all_invalid_sessions_get_identical_responses(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        let expired = session(&server, "self", "acme").await;
        server.database.sql(&format!("UPDATE portal_sessions SET expires_at = 1 WHERE id = 'pss_{}'", &expired[4..20]));
        let usual = refusal(&server, &unknown(), "GET", "/v1/api-keys").await;
        for bad in [wrong(&token), expired, checksummed(&format!("kps_{}_{}", "Z".repeat(16), "A".repeat(32))), token[..token.len() - 1].to_owned()] {
            assert_eq!(refusal(&server, &bad, "GET", "/v1/api-keys").await, usual);
        }
        // The encrypted value is bound to its table: a session row copied to
        // `credentials` cannot be decrypted.
        let key = server.generic_key(&[]).await;
        server.database.sql(&format!(
            "INSERT INTO credentials (id, number, key_id, prefix, encrypted_secret, master_version, created_at) \
             SELECT substr(id, 5), 1, '{}', 'ks', encrypted_secret, master_version, created_at FROM portal_sessions WHERE id = 'pss_{}'",
            key.id, &token[4..20],
        ));
        assert_eq!(refusal(&server, &token, "GET", "/v1/signing-keys").await.0, 403);
        assert_eq!(server.exchange(&with_member_renamed(&token)).await.status(), 401, "it does not decrypt there");
    }

    async fn session_is_no_api_key_and_cannot_act_for_others(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        assert_eq!(server.exchange(&token).await.status(), 401);
        let answer = server.manage("POST", "/v1/api-keys/validate", Some(json!({ "value": token })), 200).await;
        assert_eq!(answer, json!({ "api_key": null }));
        for user in ["self", "reader; organization=acme"] {
            let refused = call_for(&server, &token, Some(user), "GET", "/v1/api-keys", None).await;
            problem(refused, 403, "on_behalf_of").await;
        }
    }

    async fn opening_a_session_requires_permission_and_a_known_user(server: Server) {
        people(&server).await;
        put(&server, "/v1/users/blocked", json!({ "blocked": true })).await;
        let before = server.events().await.len();
        for (body, field) in [
            (json!({ "user_id": "absent" }), "user_id"), (json!({ "user_id": "blocked" }), "user_id"),
            (json!({ "user_id": "eve", "organization_id": "acme" }), "organization_id"),
            (json!({ "user_id": "eve", "organization_id": "nowhere" }), "organization_id"),
            (json!({ "organization_id": "acme" }), "user_id"), (json!({ "user_id": "self", "url": "x" }), "url"),
        ] {
            let refused = server.manage("POST", "/v1/portal-sessions", Some(body), 422).await;
            assert_eq!(refused["errors"][0]["field"], field, "{refused}");
        }
        let body = json!({ "user_id": "self", "organization_id": "acme" });
        let (directory, keys) = (server.client_key(&["keyswap:directory"]).await, server.client_key(&["keyswap:keys"]).await);
        let personal = personal(&server, "self", &["user-api-keys:manage-self"]).await;
        let session = session(&server, "self", "acme").await;
        for credential in [&directory.value, &personal.value, &session] {
            problem(call(&server, credential, "POST", "/v1/portal-sessions", Some(body.clone())).await, 403, "forbidden").await;
        }
        let for_user = call_for(&server, &keys.value, Some("self; organization=acme"), "POST", "/v1/portal-sessions", Some(body.clone())).await;
        problem(for_user, 403, "forbidden").await;
        let opened = call(&server, &keys.value, "POST", "/v1/portal-sessions", Some(body)).await;
        assert_eq!(opened.headers()["cache-control"], "no-store");
        let opened = body_of(opened, StatusCode::CREATED).await;
        assert!(opened["url"].as_str().unwrap().contains("#code=kps_"), "{opened}");
        let token = opened["token"].as_str().unwrap();
        assert!(token.starts_with("kps_"), "{token}");
        let events = server.events().await;
        let event = events.last().unwrap();
        assert_eq!((&event["type"], &event["organization_id"]), (&json!("portal_session.created"), &json!("acme")));
        assert_eq!(event["subject"], json!({ "type": "portal_session", "id": format!("pss_{}", &token[4..20]) }));
        assert!(events[before..].iter().all(|event| !event.to_string().contains(&token[21..])));
    }

    async fn users_outside_organizations_can_have_sessions(server: Server) {
        people(&server).await;
        put(&server, "/v1/users/solo", json!({ "roles": ["self"] })).await;
        let opened = server.manage("POST", "/v1/portal-sessions", Some(json!({ "user_id": "solo" })), 201).await;
        let made = make(&server, opened["token"].as_str().unwrap(), json!({ "name": "a" }), 201).await;
        assert_eq!(made["owner"], json!({ "type": "user", "id": "solo", "organization_id": null }));
        // Within an organization, the same user has a separate set of roles.
        member(&server, "acme", "solo", &["reader"]).await;
        assert_eq!(status(&server, &session(&server, "solo", "acme").await, "GET", "/v1/api-keys").await, 403);
        assert_eq!(status(&server, opened["token"].as_str().unwrap(), "GET", "/v1/api-keys").await, 200);
    }

    // Features: W1.
    async fn personal_key_manages_what_its_user_may(server: Server) {
        people(&server).await;
        let narrow = personal(&server, "self", &["user-api-keys:manage-self"]).await;
        make(&server, &narrow.value, json!({ "name": "a" }), 201).await;
        // The key grants only permissions of its own, not those of its user's roles.
        make(&server, &narrow.value, json!({ "name": "a", "permissions": ["projects:read"] }), 422).await;
        let wide = personal(&server, "self", &["user-api-keys:manage-self", "projects:read"]).await;
        make(&server, &wide.value, json!({ "name": "a", "permissions": ["projects:read"] }), 201).await;
        member(&server, "acme", "self", &["reader"]).await;
        assert_eq!(status(&server, &wide.value, "GET", "/v1/api-keys").await, 403, "demoted: at once");
    }

    // Features: W7.
    async fn organization_key_manages_keys_of_the_organization(server: Server) {
        people(&server).await;
        let key = of_organization(&server, "acme", &["api-keys:manage", "projects:read"]).await;
        let personal = personal(&server, "self", &[]).await;
        let elsewhere = of_organization(&server, "umbrella", &[]).await;
        let made = make(&server, &key.value, json!({ "name": "a", "permissions": ["projects:read"] }), 201).await;
        assert_eq!(made["owner"], json!({ "type": "organization", "id": "acme", "organization_id": "acme" }));
        make(&server, &key.value, json!({ "name": "a", "permissions": ["projects:write"] }), 422).await;
        make(&server, &key.value, json!({ "name": "a", "owner": { "type": "user", "id": "self" } }), 422).await;
        for hidden in [&personal, &elsewhere] {
            let refused = refusal(&server, &key.value, "GET", &path(hidden)).await;
            assert_eq!(refused, refusal(&server, &key.value, "GET", UNKNOWN_USER).await);
        }
    }

    // Features: A23.
    async fn back_end_acts_on_behalf_of_a_verified_user(server: Server) {
        let backend = server.client_key(&["keyswap:keys", "projects:read"]).await;
        people(&server).await;
        member(&server, "acme", "self", &["self", "reader"]).await;
        let here = Some("self; organization=acme");
        let post = async |who: Option<&str>, path: &str, body: Value| {
            call_for(&server, &backend.value, who, "POST", path, Some(body)).await
        };
        let made = post(here, "/v1/api-keys", json!({ "name": "a", "permissions": ["projects:read"] })).await;
        let made = body_of(made, StatusCode::CREATED).await;
        assert_eq!(made["owner"], json!({ "type": "user", "id": "self", "organization_id": "acme" }));
        let event = server.events().await.pop().unwrap();
        assert_eq!((&event["actor"]["id"], &event["on_behalf_of"]), (&json!(backend.id), &json!("self")));
        // The user holds the permission and the back end lacks it, and vice versa.
        let refused = post(here, "/v1/api-keys", json!({ "name": "a", "permissions": ["projects:write"] })).await;
        assert!(problem(refused, 422, "invalid").await["errors"][0]["message"].as_str().unwrap().contains("you cannot grant"));
        let refused = post(here, "/v1/api-keys", json!({ "name": "a", "permissions": ["keyswap:keys"] })).await;
        problem(refused, 422, "invalid").await;
        problem(post(Some("reader; organization=acme"), "/v1/api-keys", json!({ "name": "a" })).await, 403, "forbidden").await;

        put(&server, "/v1/users/blocked", json!({ "blocked": true, "roles": ["self"] })).await;
        for who in ["absent", "blocked", "self; organization=umbrella", "eve; organization=acme", "self; organization=nowhere"] {
            problem(post(Some(who), "/v1/api-keys", json!({ "name": "a" })).await, 403, "on_behalf_of").await;
        }
        for who in ["", "a b", "self; organisation=acme", "self;", "self; organization=", "self, eve"] {
            problem(post(Some(who), "/v1/api-keys", json!({ "name": "a" })).await, 400, "bad_request").await;
        }
        let other = server.client_key(&["keyswap:directory"]).await;
        problem(call_for(&server, &other.value, here, "GET", "/v1/api-keys", None).await, 403, "on_behalf_of").await;
    }

    // Features: A23.
    async fn service_client_created_on_behalf_belongs_to_the_user(server: Server) {
        let backend = server.client_key(&["keyswap:keys", "projects:read"]).await;
        people(&server).await;
        let named = async |credential: &str, who: Option<&str>, body: Value| {
            let answer = call_for(&server, credential, who, "POST", "/v1/service-clients", Some(body)).await;
            body_of(answer, StatusCode::CREATED).await
        };
        let here = Some("self; organization=acme");
        let client = named(&backend.value, here, json!({ "permissions": ["projects:read"] })).await;
        assert_eq!(client["name"], "Service Client for self");
        assert_eq!(client["owner"], json!({ "type": "user", "id": "self", "organization_id": "acme" }));
        assert_eq!(named(&backend.value, here, json!({ "name": "mine" })).await["name"], "mine");
        let token = session(&server, "self", "acme").await;
        assert_eq!(named(&token, None, json!({})).await["name"], "Service Client for self");
        let refused = server.manage("POST", "/v1/service-clients", Some(json!({ "permissions": ["no-such"] })), 422).await;
        let fields: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["permissions", "name"], "everything at once");
    }

    // Features: A10.
    async fn user_can_have_many_service_clients(server: Server) {
        people(&server).await;
        let token = session(&server, "self", "acme").await;
        for _ in 0..30 {
            let answer = call(&server, &token, "POST", "/v1/service-clients", Some(json!({}))).await;
            assert_eq!(answer.status(), 201);
        }
        let page = body_of(call(&server, &token, "GET", "/v1/service-clients?limit=100", None).await, StatusCode::OK).await;
        assert_eq!(page["data"].as_array().unwrap().len(), 30);
    }

    // Features: A22.
    async fn ordinary_keys_and_user_tokens_manage_nothing(server: Server) {
        people(&server).await;
        let key = personal(&server, "self", &["projects:read", "user-api-keys:manage-self"]).await;
        let ordinary = personal(&server, "self", &["projects:read"]).await;
        let browser = server.fetch_token(&key.value).await;
        let stranger = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzZWxmIn0.c2lnbmF0dXJl";
        for path in ["/v1/api-keys", "/v1/service-clients", "/v1/users", "/v1/portal-sessions"] {
            let method = if path == "/v1/portal-sessions" { "POST" } else { "GET" };
            assert_eq!(status(&server, &ordinary.value, method, path).await, 403, "{path}");
            assert_eq!(status(&server, &browser, method, path).await, 401, "{path}: a token for the product");
            assert_eq!(status(&server, stranger, method, path).await, 401, "{path}: a token of others");
        }
        let management = server.exchange_for(&key.value, json!({ "audience": "http://keyswap.test/v1" })).await;
        let management = body_of(management, StatusCode::OK).await;
        assert_eq!(management["scope"], "user-api-keys:manage-self");
        assert_eq!(status(&server, management["access_token"].as_str().unwrap(), "GET", "/v1/api-keys").await, 200);
    }

    // Features: D3.
    async fn page_receives_assignable_permissions_of_each_key_type(server: Server) {
        people(&server).await;
        permission(&server, "a_b", &["organization"]).await;
        let token = session(&server, "self", "acme").await;
        let names = async |query: &str| -> Vec<String> {
            let answer = call(&server, &token, "GET", &format!("/v1/permissions?limit=100{query}"), None).await;
            let page = body_of(answer, StatusCode::OK).await;
            let names = page["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
            names.filter(|name| !name.contains("api-keys:")).collect()
        };
        assert_eq!(names("&assignable_to=user").await, ["projects:read", "projects:write"]);
        assert_eq!(names("&assignable_to=organization").await, ["a_b", "projects:read", "projects:write"]);
        assert!(names("&assignable_to=service_client").await.contains(&"internal".to_owned()));
        assert!(names("").await.len() > 4);
        let refused = call(&server, &token, "GET", "/v1/permissions?assignable_to=serviceXclient", None).await;
        assert_eq!(problem(refused, 422, "invalid").await["errors"][0]["field"], "assignable_to");
    }
}

/// A session token as an API key: with another prefix and a matching checksum.
fn with_member_renamed(token: &str) -> String {
    use keyswap::domain::credentials::format::{ApiKeyValue, PresentedKey};
    let known = PresentedKey::parse(token).unwrap();
    ApiKeyValue::format(&"ks".parse().unwrap(), &known.credential_id, &known.secret).expose().to_owned()
}

#[test]
fn session_prefix_and_lifetime_follow_the_configuration() {
    let faults = |setting: &str| {
        keyswap::config::Settings::load(None, &[setting.to_owned()]).err().map(|error| error.to_string())
    };
    for (setting, fault) in [
        ("api_keys.prefix=kps", "api_keys.prefix: kps is reserved for portal sessions"),
        (
            r#"api_keys.accepted_prefixes=["old","kps"]"#,
            "api_keys.accepted_prefixes: kps is reserved for portal sessions",
        ),
        ("portal.session_ttl=59s", "portal.session_ttl: must be from 1m to 24h"),
        ("portal.session_ttl=25h", "portal.session_ttl: must be from 1m to 24h"),
    ] {
        assert!(faults(setting).unwrap().contains(fault), "{setting}");
    }
    for setting in ["api_keys.prefix=kps_x", "portal.session_ttl=1m", "portal.session_ttl=24h"] {
        assert_eq!(faults(setting), None);
    }
}
