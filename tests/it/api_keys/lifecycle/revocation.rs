//! The revocation of a key with its descendants, where one of them has ended, is altered, calls, or
//! is created at the same time.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    acme,
    descendants::{ids, listed, make, unowned},
    works,
};
use crate::support::{Key, Kind, MANUAL_JOBS, Server, body_of, both, calls::call, race::race, wire::problem};

fn path(key: &Key) -> String {
    format!("/v1/api-keys/{}/revoke", key.id)
}

async fn revoke(server: &Server, credential: &str, root: &Key) -> Value {
    let request = Some(json!({ "descendants": true }));
    body_of(call(server, credential, "POST", &path(root), request, &[]).await, StatusCode::OK).await
}

/// Copies the row of a key `2 ^ doublings` times, with ids that precede all others.
fn copy_key(server: &Server, key: &Key, doublings: usize) {
    let id = match server.database.kind {
        Kind::Sqlite => "'key_0' || printf('%025d', rowid)",
        Kind::Postgres => "'key_0' || lpad(nextval('copies_id')::TEXT, 25, '0')",
    };
    let sequence = if server.database.kind == Kind::Postgres { "CREATE TEMPORARY SEQUENCE copies_id;" } else { "" };
    server.database.sql(&format!(
        "{sequence} CREATE TEMPORARY TABLE copies AS SELECT * FROM api_keys WHERE id = '{}'; {} \
         UPDATE copies SET id = {id}; INSERT INTO api_keys SELECT * FROM copies;",
        key.id,
        "INSERT INTO copies SELECT * FROM copies; ".repeat(doublings),
    ));
}

async fn new_root(server: &Server) -> Key {
    acme(server).await;
    server.key_of(json!({ "type": "none" }), &["keyswap:keys", "projects:read"]).await
}

both! {
    async fn expired_key_of_a_deleted_user_is_revoked_once(server: Server, "jobs=by_hand") {
        let root = new_root(&server).await;
        let end = server.services.store.now().await.unwrap().plus("1h".parse().unwrap());
        let body = json!({ "name": "k", "owner": { "type": "user" }, "expires_at": end });
        let expired = make(&server, &root.value, Some("ada"), body).await;
        server.advance(3601);
        server.run_jobs().await;
        server.manage("DELETE", "/v1/users/ada", None, 204).await;
        server.run_jobs().await;
        assert_eq!(listed(&revoke(&server, &server.admin, &root).await), ids([&expired]));
        // Otherwise 500 of them would be all that any request finds.
        assert_eq!(listed(&revoke(&server, &server.admin, &root).await), ids([]));
    }

    async fn keys_that_ended_with_their_creator_are_revoked(server: Server, "jobs=by_hand", "api_keys.end_with_creator=true") {
        let root = new_root(&server).await;
        let body = json!({ "name": "k", "owner": { "type": "organization" }, "permissions": ["projects:read"] });
        let key = make(&server, &root.value, Some("ada; organization=acme"), body).await;
        server.manage("DELETE", "/v1/organizations/acme/members/ada", None, 204).await;
        server.run_jobs().await;
        assert!(!works(&server, &key).await);
        // The end depends on a setting, and a revocation does not.
        let without = Server::on(server.database.clone(), &["jobs=by_hand"]).await;
        assert!(works(&without, &key).await);
        assert_eq!(listed(&revoke(&server, &server.admin, &root).await), ids([&key]));
        assert!(!works(&without, &key).await);
        assert_eq!(listed(&revoke(&server, &server.admin, &root).await), ids([]));
    }

    async fn descendants_of_a_deleted_key_can_be_revoked(server: Server) {
        let root = new_root(&server).await;
        let child = make(&server, &root.value, None, unowned(&["projects:read"])).await;
        let other = make(&server, &root.value, None, unowned(&["projects:read"])).await;
        server.step(&other, "revoke").await;
        server.manage("DELETE", &format!("/v1/api-keys/{}", root.id), None, 204).await;
        let before = server.events().await.len();
        let dry = server.manage("POST", &path(&root), Some(json!({ "descendants": true, "dry_run": true })), 200).await;
        assert_eq!((listed(&dry), works(&server, &child).await), (ids([&child]), true));
        let done = revoke(&server, &server.admin, &root).await;
        assert_eq!((listed(&done), &done["state"]), (ids([&child]), &json!("revoked")));
        assert!(!works(&server, &child).await);
        assert_eq!(server.events().await.len(), before + 1, "the event of the child");
        // Without descendants there is nothing to revoke.
        for body in [None, Some(json!({ "dry_run": true }))] {
            problem(call(&server, &server.admin, "POST", &path(&root), body, &[]).await, 404, "not_found").await;
        }
    }

    async fn altered_descendant_is_named_and_the_others_are_revoked(server: Server) {
        let root = new_root(&server).await;
        let mut children = Vec::new();
        for _ in 0..3 {
            children.push(make(&server, &root.value, None, unowned(&["projects:read"])).await);
        }
        let altered = children.remove(1);
        server.database.sql(&format!("UPDATE api_keys SET permissions = 'projects:write' WHERE id = '{}'", altered.id));
        for dry_run in [true, false] {
            let request = Some(json!({ "descendants": true, "dry_run": dry_run }));
            let done = server.manage("POST", &path(&root), request, 200).await;
            assert_eq!((listed(&done), &done["descendants"]["altered"]), (ids(&children), &json!([altered.id])), "{done}");
        }
        for key in children.iter().chain([&root, &altered]) {
            assert!(!works(&server, key).await);
        }
        let again = revoke(&server, &server.admin, &root).await;
        assert_eq!(again["descendants"], json!({ "keys": [], "altered": [altered.id], "more": false }));
        server.accept_altered_rows().await;
        assert_eq!(listed(&revoke(&server, &server.admin, &root).await), ids([&altered]));
    }

    async fn incomplete_search_reports_more(server: Server) {
        acme(&server).await;
        let ada = json!({ "type": "user", "id": "ada", "organization_id": "acme" });
        let root = server.key_of(ada.clone(), &["user-api-keys:manage-self", "api-keys:manage"]).await;
        let caller = server.key_of(ada, &["user-api-keys:manage-self"]).await;
        let body = json!({ "name": "k", "owner": { "type": "organization" }, "permissions": ["api-keys:manage"] });
        let hidden = make(&server, &root.value, None, body).await;
        // More keys than one search reads, which do not exist for the caller. Keyswap has not written
        // them.
        copy_key(&server, &hidden, 11);
        let done = revoke(&server, &caller.value, &root).await;
        assert_eq!((listed(&done), &done["descendants"]["more"]), (ids([]), &json!(true)));
        let dry = server.manage("POST", &path(&root), Some(json!({ "descendants": true, "dry_run": true })), 200).await;
        let altered = dry["descendants"]["altered"].as_array().unwrap().len();
        assert_eq!((listed(&dry), altered, &dry["descendants"]["more"]), (ids([]), 500, &json!(true)));
    }

    async fn key_of_the_caller_is_revoked_last(server: Server) {
        let root = new_root(&server).await;
        let caller = make(&server, &root.value, None, unowned(&["keyswap:keys"])).await;
        let other = make(&server, &root.value, None, unowned(&["projects:read"])).await;
        assert_eq!(listed(&revoke(&server, &caller.value, &root).await), ids([&caller, &other]));
        let revoked = async || server.events().await.into_iter().filter(|event| event["type"] == "api_key.revoked").map(|event| event["subject"]["id"].clone());
        assert_eq!(revoked().await.next_back(), Some(json!(caller.id)));
        assert!(!works(&server, &caller).await && !works(&server, &root).await);
        // The root may be the caller itself.
        let root = server.key_of(json!({ "type": "none" }), &["keyswap:keys", "projects:read"]).await;
        make(&server, &root.value, None, unowned(&["projects:read"])).await;
        assert_eq!(revoke(&server, &root.value, &root).await["state"], "revoked");
        assert_eq!(revoked().await.next_back(), Some(json!(root.id)));
    }
}

#[test]
fn key_that_is_created_during_the_revocation_is_revoked() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        let root = new_root(&server).await;
        let replica = server.replica().await;
        let create = server.post("/v1/api-keys").bearer_auth(&root.value).json(&unowned(&["projects:read"]));
        let revoke = replica.post(&path(&root)).bearer_auth(&server.admin).json(&json!({ "descendants": true }));
        let [created, revoked] = race([(&server, create), (&replica, revoke)]).await;
        let created = body_of(created, StatusCode::CREATED).await;
        let revoked = body_of(revoked, StatusCode::OK).await;
        assert_eq!(revoked["descendants"]["keys"][0]["id"], created["id"], "{revoked}");
        let value = created["value"].as_str().unwrap();
        assert_eq!(server.exchange(value).await.status(), StatusCode::UNAUTHORIZED);
    });
}
