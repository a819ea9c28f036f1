//! Authorization to view, create and change access records.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::support::{
    both,
    wire::{problem, snapshot},
};

const UNKNOWN: &str = "/v1/access-records/rec_00000000000000000000000000";

/// Creates organization acme. Alice and Bob hold document roles and may manage only their own keys;
/// Max manages the organization's keys.
async fn acme(server: &Server) {
    sample_roles(server).await;
    organization(server, "acme").await;
    for (id, roles) in [
        ("alice", ["Viewer", "Editor", "self"]),
        ("bob", ["Viewer", "Editor", "self"]),
        ("max", ["Viewer", "manager", "manager"]),
    ] {
        user(server, id, &[]).await;
        member(server, "acme", id, &roles).await;
    }
}

const ALICE: &str = "alice; organization=acme";
const BOB: &str = "bob; organization=acme";
const MAX: &str = "max; organization=acme";

async fn is_hidden(server: &Server, who: &str, record: &Value) {
    let change = json!({ "name": "mine" });
    for (method, body) in [("GET", None), ("PATCH", Some(change)), ("DELETE", None)] {
        let hidden = snapshot(as_user(server, who, method, &path_of(record), body.clone()).await).await;
        assert_eq!(hidden.0, 404);
        assert_eq!(hidden, snapshot(as_user(server, who, method, UNKNOWN, body).await).await, "{who} {method}");
    }
    let listed = call_on_behalf(server, who, "GET", "/v1/access-records", None, 200).await;
    assert!(listed["data"].as_array().unwrap().iter().all(|one| one["id"] != record["id"]), "{who}");
}

both! {
    // Features: A9.
    async fn creator_of_a_record_administers_it_without_managing_the_organization(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        server.offer_management_permissions().await;
        let body = record("user", "alice", json!([statement(&["Viewer"], &["/Users/alice/*"])]));
        let made = call_on_behalf(&server, ALICE, "POST", "/v1/access-records", Some(body), 201).await;
        assert_eq!((&made["admins"], &made["organization_id"]), (&json!(["alice"]), &json!("acme")));
        assert_eq!(made["created_by"], json!({ "type": "user", "id": "alice" }));
        assert_eq!(call_on_behalf(&server, ALICE, "GET", "/v1/access-records", None, 200).await["data"], json!([made]));
        let change = json!({ "name": "b", "statements": [statement(&["Editor"], &["/Users/alice/*"])] });
        assert_eq!(call_on_behalf(&server, ALICE, "PATCH", &path_of(&made), Some(change), 200).await["version"], 2);
        // Alice's own key has the same access; keys of other users do not.
        is_hidden(&server, BOB, &made).await;
        let key = personal_key(&server, "alice", Some("acme"), &[SELF, "docs:read"]).await;
        assert_eq!(call(&server, &key.value, "GET", &path_of(&made), None, &[]).await.status(), 200);
        let of_bob = personal_key(&server, "bob", Some("acme"), &[SELF, "docs:read"]).await;
        assert_eq!(call(&server, &of_bob.value, "GET", &path_of(&made), None, &[]).await.status(), 404);
        // Alice adds Bob as an administrator. Bob then removes Alice, who loses all access.
        call_on_behalf(&server, ALICE, "PATCH", &path_of(&made), Some(json!({ "admins": ["alice", "bob"] })), 200).await;
        call_on_behalf(&server, BOB, "PATCH", &path_of(&made), Some(json!({ "admins": ["bob"] })), 200).await;
        is_hidden(&server, ALICE, &made).await;
        call_on_behalf(&server, BOB, "DELETE", &path_of(&made), None, 204).await;
    }

    // Features: A9.
    async fn organization_manager_administers_all_of_its_records(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        organization(&server, "other").await;
        member(&server, "other", "max", &["manager", "Viewer"]).await;
        let body = record("user", "alice", json!([statement(&["Viewer"], &["/Users/alice/*"])]));
        let of_alice = call_on_behalf(&server, ALICE, "POST", "/v1/access-records", Some(body.clone()), 201).await;
        let by_max = record("user", "alice", json!([statement(&["Viewer"], &["/acme/*"])]));
        let of_max = call_on_behalf(&server, MAX, "POST", "/v1/access-records", Some(by_max), 201).await;
        assert_eq!(of_max["admins"], json!(["max"]));
        is_hidden(&server, ALICE, &of_max).await;
        let listed = call_on_behalf(&server, MAX, "GET", "/v1/access-records", None, 200).await;
        assert_eq!(listed["data"].as_array().unwrap().len(), 2);
        call_on_behalf(&server, MAX, "PATCH", &path_of(&of_alice), Some(json!({ "name": "seen" })), 200).await;
        call_on_behalf(&server, MAX, "DELETE", &path_of(&of_alice), None, 204).await;
        // The rights of Max end at the organization: they cover neither records of another
        // organization nor records outside organizations.
        is_hidden(&server, "max; organization=other", &of_max).await;
        let mut elsewhere = body;
        elsewhere["organization_id"] = json!("other");
        let refusal = call_on_behalf(&server, MAX, "POST", "/v1/access-records", Some(elsewhere), 422).await;
        assert_eq!(refusal["errors"][0]["field"], "organization_id");
        let outside = make(&server, { user(&server, "eve", &["self"]).await; record("user", "eve", json!([statement(&["Viewer"], &["/a"])])) }).await;
        is_hidden(&server, MAX, &outside).await;
        is_hidden(&server, "eve", &outside).await;
        is_hidden(&server, "eve", &of_max).await;
    }

    // Features: A8.
    async fn user_creates_records_for_own_resources_with_own_roles(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        let own = call_on_behalf(&server, ALICE, "POST", "/v1/service-clients", Some(json!({ "name": "a", "permissions": ["docs:read"] })), 201).await;
        let other = call_on_behalf(&server, BOB, "POST", "/v1/service-clients", Some(json!({ "name": "b", "permissions": ["docs:read"] })), 201).await;
        let key = personal_key(&server, "alice", Some("acme"), &["docs:read"]).await;
        let of_bob = personal_key(&server, "bob", Some("acme"), &["docs:read"]).await;
        let outside = { server.manage("PATCH", "/v1/users/alice", Some(json!({ "roles": ["Viewer"] })), 200).await;
            personal_key(&server, "alice", None, &["docs:read"]).await };
        let any = json!([statement(&["Viewer", "Editor"], &["/Users/alice/*", "/Users/alice/Documents/7"])]);
        for (kind, id) in [("user", "alice"), ("service_client", own["id"].as_str().unwrap()), ("api_key", &key.id)] {
            call_on_behalf(&server, ALICE, "POST", "/v1/access-records", Some(record(kind, id, any.clone())), 201).await;
        }
        for (kind, id) in [("user", "bob"), ("service_client", other["id"].as_str().unwrap()), ("api_key", &of_bob.id), ("api_key", &outside.id)] {
            let refusal = call_on_behalf(&server, ALICE, "POST", "/v1/access-records", Some(record(kind, id, any.clone())), 422).await;
            assert_eq!(refusal["errors"][0]["field"], "principals[0]");
            assert_eq!(messages(&refusal).len(), 1);
        }
        // A caller cannot grant a role with permissions the caller lacks, for any principal. Max
        // holds only `docs:read`.
        for (who, at, roles, lacks) in [
            (ALICE, "/Users/alice/a", ["Creator", "Viewer"], "docs:create"), (MAX, "/acme/a", ["Editor", "Viewer"], "docs:edit"),
        ] {
            let refusal = record("user", "alice", json!([statement(&["Viewer"], &[at]), statement(&roles, &[at])]));
            let refusal = call_on_behalf(&server, who, "POST", "/v1/access-records", Some(refusal), 422).await;
            let found = messages(&refusal);
            assert!(found.len() == 1 && found[0].starts_with("statements[1].roles") && found[0].contains(lacks), "{found:?}");
        }
        // A user without permission to manage their own keys cannot create a record.
        server.manage("PUT", "/v1/organizations/acme/members/bob", Some(json!({ "roles": ["Viewer"] })), 200).await;
        let refused = as_user(&server, BOB, "POST", "/v1/access-records", Some(record("user", "bob", any))).await;
        problem(refused, 403, "forbidden").await;
    }

    async fn change_requires_grant_rights_for_added_permissions_only(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        // The administrator grants Alice a role that she could not grant herself.
        let mut body = record("user", "alice", json!([statement(&["Creator"], &["/a"])]));
        body["organization_id"] = json!("acme");
        body["admins"] = json!(["alice", "max"]);
        let made = make(&server, body).await;
        let path = path_of(&made);
        for change in [
            json!({ "statements": [statement(&["Creator"], &["/*"])] }),
            json!({ "statements": [statement(&["Creator"], &["/a"]), statement(&["Creator"], &["/b"])] }),
            json!({ "statements": [statement(&["Creator", "Viewer"], &["/a"])] }),
        ] {
            let refusal = call_on_behalf(&server, ALICE, "PATCH", &path, Some(change), 422).await;
            assert!(messages(&refusal)[0].contains("docs:create"), "{refusal}");
        }
        // Max may add principals, but adding one grants every role in the record.
        let more = json!({ "principals": [{ "type": "user", "id": "alice" }, { "type": "user", "id": "bob" }] });
        let refusal = call_on_behalf(&server, MAX, "PATCH", &path, Some(more.clone()), 422).await;
        assert!(messages(&refusal)[0].contains("docs:create"), "{refusal}");
        let refusal = call_on_behalf(&server, ALICE, "PATCH", &path, Some(more), 422).await;
        assert_eq!(refusal["errors"][0]["field"], "principals[1]");
        // Alice may keep existing statements, rename the record, add statements within her own
        // permissions, and remove statements.
        let wider = json!({ "name": "n", "statements": [statement(&["Creator"], &["/a"]), statement(&["Viewer"], &["/Users/alice/b"])] });
        call_on_behalf(&server, ALICE, "PATCH", &path, Some(wider), 200).await;
        call_on_behalf(&server, ALICE, "PATCH", &path, Some(json!({ "statements": [statement(&["Viewer"], &["/Users/alice/b"])] })), 200).await;
        assert_eq!(server.manage("GET", &path, None, 200).await["version"], 3);
    }

    async fn key_cannot_change_its_own_access_records(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        server.offer_management_permissions().await;
        let key = personal_key(&server, "alice", Some("acme"), &["docs:read", "user-api-keys:manage-self"]).await;
        let wide = json!([statement(&["Viewer"], &["/Users/alice/*"])]);
        let own = record("api_key", &key.id, json!([statement(&["Viewer"], &["/Users/alice/a"])]));
        let made = call_on_behalf(&server, ALICE, "POST", "/v1/access-records", Some(own.clone()), 201).await;
        let bundle = json!({ "name": "c", "permissions": ["docs:read"], "access_record": { "name": "r", "statements": wide } });
        // Alice administers the record and the key acts on behalf of Alice, yet the key can neither
        // widen the record nor create an object with wider access.
        for (method, path, body) in [
            ("POST", "/v1/access-records".to_owned(), own),
            ("PATCH", path_of(&made), json!({ "statements": wide })),
            ("PATCH", path_of(&made), json!({ "name": "n" })),
            ("POST", "/v1/service-clients".to_owned(), bundle),
        ] {
            let refused = call(&server, &key.value, method, &path, Some(body), &[]).await;
            // No scope would help: `WWW-Authenticate` names permissions only (RFC 6750 §3).
            assert!(!refused.headers().contains_key("www-authenticate"), "{:?}", refused.headers());
            let reported = problem(refused, 403, "forbidden").await;
            assert!(reported["detail"].as_str().unwrap().contains("cannot define its own access"), "{reported}");
        }
        assert_eq!(call_on_behalf(&server, ALICE, "GET", &path_of(&made), None, 200).await["version"], 1);
        call_on_behalf(&server, ALICE, "PATCH", &path_of(&made), Some(json!({ "statements": wide })), 200).await;
    }

    async fn user_outside_organizations_cannot_name_other_users(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        for user in ["eve", "dan"] {
            server.manage("PUT", &format!("/v1/users/{user}"), Some(json!({ "roles": ["self", "Viewer"] })), 201).await;
        }
        let mut body = record("user", "eve", json!([statement(&["Viewer"], &["/Users/eve/a"])]));
        for admin in ["dan", "absent"] {
            body["admins"] = json!([admin]);
            let refusal = call_on_behalf(&server, "eve", "POST", "/v1/access-records", Some(body.clone()), 422).await;
            assert_eq!(messages(&refusal), [format!("admins[0]: there is no user {admin} here")]);
        }
        body["admins"] = json!(["eve"]);
        call_on_behalf(&server, "eve", "POST", "/v1/access-records", Some(body), 201).await;
    }

    async fn replay_returns_404_after_access_was_lost(
        server: Server, r#"access_records.user_resources=["/Users/{user}/*", "/{organization}/*"]"#
    ) {
        acme(&server).await;
        let own = record("user", "alice", json!([statement(&["Viewer"], &["/Users/alice/a"])]));
        let client = json!({ "name": "c", "permissions": ["docs:read"] });
        let post = |path: &'static str, body: Value| {
            server.on_behalf(ALICE, "POST", path).header("idempotency-key", path).json(&body).send()
        };
        for _ in 0..2 {
            let record = post("/v1/access-records", own.clone()).await.unwrap();
            let client = post("/v1/service-clients", client.clone()).await.unwrap();
            assert_eq!([record.status().as_u16(), client.status().as_u16()], [201; 2]);
        }
        // Objects that Alice owned before leaving stay unowned after she rejoins.
        let member = "/v1/organizations/acme/members/alice";
        let roles = json!({ "roles": server.manage("GET", member, None, 200).await["roles"] });
        server.manage("DELETE", member, None, 204).await;
        server.manage("PUT", member, Some(roles), 201).await;
        for (path, body) in [("/v1/access-records", own), ("/v1/service-clients", client)] {
            problem(post(path, body).await.unwrap(), 404, "not_found").await;
        }
        let left = call_on_behalf(&server, ALICE, "GET", "/v1/service-clients", None, 200).await;
        assert_eq!(left["data"], json!([]), "who was given her id since must not see what she had");
    }

    async fn key_manager_cannot_grant_more_than_it_has(server: Server) {
        sample_roles(&server).await;
        let manager = server.client_key(&["keyswap:keys", "docs:read"]).await;
        let body = |role: &str| record("api_key", &manager.id, json!([statement(&[role], &["/a"])]));
        let made = call(&server, &manager.value, "POST", "/v1/access-records", Some(body("Viewer")), &[]).await;
        assert_eq!(body_of(made, StatusCode::CREATED).await["admins"], json!([]));
        let refused = call(&server, &manager.value, "POST", "/v1/access-records", Some(body("Editor")), &[]).await;
        problem(refused, 422, "invalid").await;
        let product = server.client_key(&["docs:read"]).await;
        problem(call(&server, &product.value, "GET", "/v1/access-records", None, &[]).await, 403, "forbidden").await;
    }
}
