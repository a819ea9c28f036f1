//! Who created a key, and the revocation of a key with all keys that were created with it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{acme, works};
use crate::support::{
    Key, Server, body_of, both,
    calls::{call, read_pages},
    wire::problem,
};

/// Creates a key with `credential`, on behalf of a user if one is given.
pub(super) async fn make(server: &Server, credential: &str, user: Option<&str>, body: Value) -> Key {
    let headers: Vec<_> = user.map(|user| ("keyswap-on-behalf-of", user)).into_iter().collect();
    let made = call(server, credential, "POST", "/v1/api-keys", Some(body), &headers).await;
    let made = body_of(made, StatusCode::CREATED).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Key { id: text("id"), value: text("value"), client: String::new() }
}

pub(super) fn unowned(permissions: &[&str]) -> Value {
    json!({ "name": "k", "owner": { "type": "none" }, "permissions": permissions })
}

/// A key and its descendants, by every way in which a key creates another one.
struct Family {
    root: Key,
    /// Created with the root, and revoked.
    revoked: Key,
    /// Every other descendant.
    descendants: Vec<Key>,
    /// The root's creator, and keys of others.
    others: Vec<Key>,
}

async fn family(server: &Server) -> Family {
    acme(server).await;
    let manager = ["keyswap:keys", "projects:read"];
    let creator = server.key_of(json!({ "type": "none" }), &["keyswap:admin", "projects:read"]).await;
    let root = make(server, &creator.value, None, unowned(&["keyswap:keys", "projects:read", "projects:write"])).await;
    let child = make(server, &root.value, None, unowned(&manager)).await;
    let revoked = make(server, &root.value, None, unowned(&manager)).await;
    let token = server.exchange_for(&root.value, json!({ "audience": "http://keyswap.test/v1" })).await;
    let token = body_of(token, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned();
    let session = json!({ "user_id": "ada", "organization_id": "acme" });
    let session = body_of(
        call(server, &root.value, "POST", "/v1/portal-sessions", Some(session), &[]).await,
        StatusCode::CREATED,
    )
    .await;
    let session = session["token"].as_str().unwrap();
    let of_user =
        |permissions: &[&str]| json!({ "name": "k", "owner": { "type": "user" }, "permissions": permissions });
    let in_session = make(server, session, None, of_user(&["user-api-keys:manage-self", "projects:read"])).await;
    let descendants = vec![
        make(server, &child.value, None, unowned(&["projects:read"])).await,
        make(server, &revoked.value, None, unowned(&["projects:read"])).await,
        make(server, &token, None, unowned(&["projects:read"])).await,
        make(
            server,
            &root.value,
            Some("ada; organization=acme"),
            json!({ "name": "k", "permissions": ["projects:read"] }),
        )
        .await,
        make(server, &in_session.value, None, of_user(&["projects:read"])).await,
        in_session,
        child,
    ];
    server.step(&revoked, "revoke").await;
    let sibling = make(server, &creator.value, None, unowned(&["projects:read"])).await;
    let personal =
        server.key_of(json!({ "type": "user", "id": "ada", "organization_id": "acme" }), &["projects:read"]).await;
    Family { root, revoked, descendants, others: vec![creator, sibling, personal] }
}

pub(super) fn ids<'a>(keys: impl IntoIterator<Item = &'a Key>) -> BTreeSet<String> {
    keys.into_iter().map(|key| key.id.clone()).collect()
}

/// The ids in the `descendants` of a response.
pub(super) fn listed(answer: &Value) -> BTreeSet<String> {
    let keys = answer["descendants"]["keys"].as_array().unwrap();
    keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

async fn all_work(server: &Server, keys: &[Key]) -> Vec<bool> {
    let mut all = Vec::new();
    for key in keys {
        all.push(works(server, key).await);
    }
    all
}

async fn filtered(server: &Server, by: &str) -> BTreeSet<String> {
    let page = server.manage("GET", &format!("/v1/api-keys?limit=100&created_by={by}"), None, 200).await;
    page["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

both! {
    async fn revocation_with_descendants_includes_every_key_created_with_the_key(server: Server) {
        let Family { root, descendants, others, .. } = family(&server).await;
        let path = format!("/v1/api-keys/{}/revoke", root.id);
        let before = server.events().await.len();
        let dry = server.manage("POST", &path, Some(json!({ "descendants": true, "dry_run": true })), 200).await;
        assert_eq!((listed(&dry), &dry["descendants"]["more"], &dry["state"]), (ids(&descendants), &json!(false), &json!("active")));
        assert_eq!(server.events().await.len(), before);
        assert!(works(&server, &root).await && all_work(&server, &descendants).await.iter().all(|works| *works));

        let done = server.manage("POST", &path, Some(json!({ "descendants": true })), 200).await;
        assert_eq!((listed(&done), &done["state"]), (ids(&descendants), &json!("revoked")));
        assert_eq!(done["descendants"]["keys"], dry["descendants"]["keys"]);
        assert!(!works(&server, &root).await && all_work(&server, &descendants).await.iter().all(|works| !works));
        assert!(all_work(&server, &others).await.iter().all(|works| *works), "its creator and the keys of others");
        let events: Vec<_> = server.events().await.split_off(before);
        assert!(events.iter().all(|event| event["type"] == "api_key.revoked"), "{events:?}");
        let with_cause = |cause: Value| -> BTreeSet<_> {
            let found = events.iter().filter(|event| event["cause"] == cause);
            found.map(|event| event["subject"]["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(with_cause(json!("creator_revoked")), ids(&descendants));
        assert_eq!(with_cause(Value::Null), ids([&root]));
        // A repeated revocation finds nothing.
        let again = server.manage("POST", &path, Some(json!({ "descendants": true })), 200).await;
        assert_eq!(again["descendants"], json!({ "keys": [], "altered": [], "more": false }));
        assert_eq!(server.events().await.len(), before + events.len());
    }

    async fn revocation_without_descendants_leaves_them(server: Server) {
        let Family { root, descendants, .. } = family(&server).await;
        for body in [Some(json!({ "dry_run": true })), None] {
            let is_dry = body.is_some();
            let done = server.manage("POST", &format!("/v1/api-keys/{}/revoke", root.id), body, 200).await;
            assert!(done.get("descendants").is_none(), "{done}");
            assert_eq!(works(&server, &root).await, is_dry);
        }
        assert!(all_work(&server, &descendants).await.iter().all(|works| *works));
    }

    async fn created_by_filters_by_key_user_and_operator(server: Server) {
        let Family { root, revoked, descendants, others } = family(&server).await;
        let direct = ids(descendants[2..4].iter().chain(&descendants[5..]).chain([&revoked]));
        assert_eq!(filtered(&server, &root.id).await, direct);
        assert_eq!(filtered(&server, &format!("api_key:{}", root.id)).await, direct);
        assert_eq!(filtered(&server, &others[0].id).await, ids([&root, &others[1]]));
        assert_eq!(filtered(&server, "user:ada").await, ids([&descendants[3], &descendants[5]]));
        assert_eq!(filtered(&server, "user:absent").await, BTreeSet::new());
        assert_eq!(filtered(&server, "system").await.len() + filtered(&server, "cli").await.len(), 1, "the first administrator");
        for invalid in ["ada", "user:", "key_01JD", "portal_session:pss_1"] {
            server.manage("GET", &format!("/v1/api-keys?created_by={invalid}"), None, 422).await;
        }
    }

    async fn callers_inside_a_tenant_revoke_descendants_of_their_tenant(server: Server) {
        acme(&server).await;
        let owner = json!({ "type": "user", "id": "ada", "organization_id": "acme" });
        let root = server.key_of(owner.clone(), &["user-api-keys:manage-self", "api-keys:manage", "projects:read"]).await;
        let own = make(&server, &root.value, None, json!({ "name": "k", "owner": { "type": "user" }, "permissions": ["projects:read"] })).await;
        let whole = make(&server, &root.value, None, json!({ "name": "k", "owner": { "type": "organization" }, "permissions": ["projects:read"] })).await;
        // This caller manages the personal keys of ada, and not those of the organization.
        let caller = server.key_of(owner, &["user-api-keys:manage-self"]).await;
        let revoke = async |key: &str, body: Value| {
            call(&server, &caller.value, "POST", &format!("/v1/api-keys/{key}/revoke"), Some(body), &[]).await
        };
        let both = json!({ "descendants": true });
        let done = body_of(revoke(&root.id, both.clone()).await, StatusCode::OK).await;
        assert_eq!(listed(&done), ids([&own]));
        assert_eq!(all_work(&server, &[root, own, whole]).await, [false, false, true]);
        let outside = server.generic_key(&[]).await;
        for body in [json!({ "dry_run": true }), both] {
            problem(revoke(&outside.id, body.clone()).await, 404, "not_found").await;
            problem(revoke("key_01JD0000000000000000000000", body).await, 404, "not_found").await;
        }
    }

    async fn last_administrator_is_no_descendant_to_revoke(server: Server) {
        let administrator = server.manage("GET", "/v1/api-keys", None, 200).await["data"][0].clone();
        let first = format!("/v1/api-keys/{}/revoke", administrator["id"].as_str().unwrap());
        server.permissions(&["projects:read"]).await;
        let body = json!({ "name": "another", "permissions": ["keyswap:admin", "projects:read"] });
        let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
        let owner = json!({ "type": "service_client", "id": client["id"] });
        let second = server.key_of(owner, &["keyswap:admin", "projects:read"]).await;
        let before = server.events().await.len();
        for dry_run in [true, false] {
            server.manage("POST", &first, Some(json!({ "descendants": true, "dry_run": dry_run })), 409).await;
        }
        assert_eq!(server.events().await.len(), before);
        assert!(works(&server, &second).await);
        let version = (administrator["version"].as_i64().unwrap() + 1).to_string();
        let stale = call(&server, &server.admin, "POST", &first, Some(json!({ "descendants": true })), &[("if-match", &format!("\"{version}\""))]).await;
        problem(stale, 412, "precondition_failed").await;
        server.manage("POST", &first, None, 200).await;
        assert!(works(&server, &second).await);
        let last = format!("/v1/api-keys/{}/revoke", second.id);
        for body in [Some(json!({ "dry_run": true })), Some(json!({})), None] {
            problem(call(&server, &second.value, "POST", &last, body, &[]).await, 409, "conflict").await;
        }
    }

    async fn descendants_beyond_the_limit_are_revoked_by_a_repeated_request(server: Server) {
        server.permissions(&["projects:read"]).await;
        let root = server.key_of(json!({ "type": "none" }), &["keyswap:keys"]).await;
        // The caller is a descendant too, and is revoked last: otherwise it could not repeat the request.
        let caller = make(&server, &root.value, None, unowned(&["keyswap:keys"])).await;
        for _ in 0..25 {
            join_all((0..20).map(|_| make(&server, &root.value, None, unowned(&[])))).await;
        }
        let path = format!("/v1/api-keys/{}/revoke", root.id);
        for (credential, dry_run, count, more) in [
            (&caller.value, true, 500, true), (&caller.value, false, 500, true), (&caller.value, false, 1, false), (&server.admin, false, 0, false),
        ] {
            let body = json!({ "descendants": true, "dry_run": dry_run });
            let done = body_of(call(&server, credential, "POST", &path, Some(body), &[]).await, StatusCode::OK).await;
            assert_eq!((listed(&done).len(), &done["descendants"]["more"]), (count, &json!(more)));
        }
        assert!(!works(&server, &caller).await);
        let left = read_pages(&server, "/v1/api-keys", 100).await;
        assert_eq!(left.iter().filter(|key| key["state"] == "active").count(), 1, "the administrator");
    }
}
