//! Access record objects: representation, limits and audit events.

use reqwest::StatusCode;
use serde_json::json;

use super::*;
use crate::{
    support::calls::{events_after, read_pages, tagged_version},
    support::{both, wire::problem},
};

both! {
    // Features: A7.
    async fn record_is_returned_as_created(server: Server) {
        sample_roles(&server).await;
        organization(&server, "acme").await;
        user(&server, "auth0|alice", &[]).await;
        user(&server, "bob", &[]).await;
        member(&server, "acme", "auth0|alice", &["Viewer"]).await;
        member(&server, "acme", "bob", &[]).await;
        let key = server.key(json!({ "name": "a", "owner": { "type": "organization", "id": "acme" }, "permissions": ["docs:read"] })).await;
        let client = json!({ "name": "c", "owner": { "type": "organization", "id": "acme" }, "permissions": ["docs:read"] });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        let before = server.events().await.len();
        let body = json!({
            "name": "Drafts", "organization_id": "acme", "admins": ["bob"],
            "principals": [{ "type": "user", "id": "auth0|alice" }, { "type": "service_client", "id": client["id"] }, { "type": "api_key", "id": key.id }],
            "statements": [statement(&["Editor", "Viewer"], &["/Users/auth0|alice/*", "https://docs.test/*/x"])],
        });
        let made = call(&server, &server.admin, "POST", "/v1/access-records", Some(body.clone()), &[("idempotency-key", "one")]).await;
        assert_eq!(tagged_version(&made), 1);
        let location = made.headers()["location"].to_str().unwrap().to_owned();
        let made = body_of(made, StatusCode::CREATED).await;
        assert_eq!(location, format!("http://keyswap.test{}", path_of(&made)));
        let mut members: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["admins", "created_at", "created_by", "granted_by", "id", "name", "organization_id", "principals", "statements", "version"]);
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(&made[member], value, "{member}");
        }
        assert_eq!(server.manage("GET", &path_of(&made), None, 200).await, made);
        // A replay returns the same record. The same idempotency key with a
        // different body is an error.
        let again = call(&server, &server.admin, "POST", "/v1/access-records", Some(body.clone()), &[("idempotency-key", "one")]).await;
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert_eq!(body_of(again, StatusCode::CREATED).await, made);
        let mut other = body;
        other["name"] = json!("Other");
        let other = call(&server, &server.admin, "POST", "/v1/access-records", Some(other), &[("idempotency-key", "one")]).await;
        assert_eq!(other.status(), 422);

        let change = json!({ "name": "New", "admins": [], "statements": [statement(&["Viewer"], &["/a"])] });
        let stale = call(&server, &server.admin, "PATCH", &path_of(&made), Some(change.clone()), &[("if-match", "\"7\"")]).await;
        assert_eq!(stale.status(), 412);
        let changed = server.manage("PATCH", &path_of(&made), Some(change.clone()), 200).await;
        assert_eq!((&changed["version"], &changed["name"], &changed["admins"]), (&json!(2), &json!("New"), &json!([])));
        assert_eq!((&changed["principals"], &changed["statements"]), (&made["principals"], &change["statements"]));
        assert_eq!(server.manage("PATCH", &path_of(&made), Some(change), 200).await["version"], 2, "nothing changed");
        let stale = call(&server, &server.admin, "DELETE", &path_of(&made), None, &[("if-match", "\"1\"")]).await;
        assert_eq!(stale.status(), 412);
        server.manage("DELETE", &path_of(&made), None, 204).await;
        server.manage("DELETE", &path_of(&made), None, 404).await;
        server.manage("GET", &path_of(&made), None, 404).await;
        assert_eq!(events_after(&server, before).await, ["access_record.created", "access_record.updated", "access_record.deleted"]);
        let event = server.events().await[before].clone();
        assert_eq!((&event["organization_id"], &event["subject"]["id"]), (&json!("acme"), &made["id"]));
        assert_eq!(event["data"]["roles"], "Editor Viewer");
    }

    // Features: A7.
    async fn all_faults_of_a_record_are_reported_at_once(server: Server) {
        sample_roles(&server).await;
        user(&server, "alice", &[]).await;
        let before = server.events().await.len();
        let refusal = server.manage("POST", "/v1/access-records", Some(json!({
            "name": "a", "admins": ["bob", "a*b"],
            "principals": [
                { "type": "user", "id": "alice" }, { "type": "user", "id": "carol" }, { "type": "user", "id": "svc_x" },
                { "type": "service_client", "id": "svc_00000000000000000000000000" }, { "type": "service_client", "id": "alice" },
                { "type": "api_key", "id": "key_00000000000000000000000000" },
            ],
            "statements": [
                statement(&["Viewer", "Unknown", "a role"], &["/a", "a", "/a/../b", "/*/b*"]), statement(&[], &[]), statement(&["Other"], &["/b"]),
            ],
        })), 422).await;
        let found = messages(&refusal);
        for part in [
            "admins[0]: there is no user bob", "admins[1]: not an id", "principals[1]: there is no user carol", "principals[2].id: not an id",
            "principals[3]: there is no service client svc_0", "principals[4].id: not an id", "principals[5]: there is no api key key_0",
            "statements[0].roles: there is no role Unknown", "statements[0].roles[2]: a role", "statements[0].resources[1]: a resource",
            "statements[0].resources[2]: a resource", "statements[0].resources[3]: a resource", "statements[1].roles: must have 1 to 16",
            "statements[1].resources: must have 1 to 32", "statements[2].roles: there is no role Other",
        ] {
            assert!(found.iter().any(|message| message.starts_with(part)), "{part}: {found:#?}");
        }
        assert_eq!(found.len(), 15, "{found:#?}");
        let good = || record("user", "alice", json!([statement(&["Viewer"], &["/a"])]));
        let one = |kind: &str| vec![json!({ "type": kind, "id": "alice" }); 65];
        for (member, value, field) in [
            ("principals", json!([]), "principals"), ("principals", json!(one("user")), "principals"), ("admins", json!(vec!["alice"; 65]), "admins"),
            ("statements", json!([]), "statements"), ("statements", json!(vec![statement(&["Viewer"], &["/a"]); 33]), "statements"),
            ("statements", json!([statement(&["Viewer"; 17], &["/a"])]), "statements[0].roles"),
            ("statements", json!([statement(&["Viewer"], &["/a"; 33])]), "statements[0].resources"),
            ("organization_id", json!("nowhere"), "organization_id"), ("color", json!(1), "color"), ("name", json!(""), "name"),
        ] {
            let mut body = good();
            body[member] = value;
            let refusal = server.manage("POST", "/v1/access-records", Some(body), 422).await;
            assert_eq!(refusal["errors"][0]["field"], field, "{refusal}");
        }
        // A secret pasted into another field is neither stored nor echoed.
        let mut pasted = good();
        pasted["statements"][0]["resources"] = json!([format!("/{}", server.admin)]);
        pasted["principals"][0]["id"] = json!(server.admin);
        let refusal = server.manage("POST", "/v1/access-records", Some(pasted), 422).await;
        assert_eq!(messages(&refusal).len(), 2);
        assert!(!refusal.to_string().contains(server.admin.rsplit('_').next().unwrap()));
        assert_eq!(server.events().await.len(), before, "nothing half done");
        // Duplicates are removed.
        let mut body = good();
        body["principals"] = json!(vec![json!({ "type": "user", "id": "alice" }); 2]);
        body["admins"] = json!(["alice", "alice"]);
        body["statements"] = json!([statement(&["Viewer", "Viewer"], &["/a", "/b", "/a"])]);
        let made = make(&server, body).await;
        assert_eq!((made["principals"].as_array().unwrap().len(), &made["admins"]), (1, &json!(["alice"])));
        assert_eq!(made["statements"], json!([statement(&["Viewer"], &["/a", "/b"])]));
        // An update is validated like a creation and rejects unknown members.
        for change in [json!({ "principals": [] }), json!({ "statements": [statement(&["No"], &["/a"])] }), json!({ "organization_id": null })] {
            server.manage("PATCH", &path_of(&made), Some(change), 422).await;
        }
        assert_eq!(server.manage("GET", &path_of(&made), None, 200).await, made);
    }

    async fn records_are_listed_newest_first_by_cursor(server: Server) {
        sample_roles(&server).await;
        let key = server.generic_key(&["docs:read"]).await;
        let mut made = Vec::new();
        for _ in 0..5 {
            made.insert(0, make(&server, record("api_key", &key.id, json!([statement(&["Viewer"], &["/a"])]))).await);
        }
        made.sort_by(|one, other| other["id"].as_str().cmp(&one["id"].as_str()));
        for limit in [1, 2, 100] {
            assert_eq!(read_pages(&server, "/v1/access-records", limit).await, made);
        }
    }

    // Features: A5.
    async fn role_used_by_a_record_cannot_be_deleted(server: Server) {
        sample_roles(&server).await;
        role(&server, "View_r", &["docs:read"]).await;
        let key = server.generic_key(&["docs:read"]).await;
        let record = make(&server, record("api_key", &key.id, json!([statement(&["Viewer"], &["/a"])]))).await;
        let refusal = call(&server, &server.admin, "DELETE", "/v1/roles/Viewer", None, &[]).await;
        let refusal = problem(refusal, 409, "conflict").await;
        assert!(refusal["detail"].as_str().unwrap().contains(record["id"].as_str().unwrap()), "{refusal}");
        server.manage("DELETE", "/v1/roles/View_r", None, 204).await;
        server.manage("DELETE", &path_of(&record), None, 204).await;
        server.manage("DELETE", "/v1/roles/Viewer", None, 204).await;
    }

    async fn deleted_principal_may_remain_on_a_record_but_not_be_added(server: Server) {
        sample_roles(&server).await;
        user(&server, "alice", &[]).await;
        let key = server.generic_key(&[]).await;
        let mut body = record("user", "alice", json!([statement(&["Viewer"], &["/a"])]));
        body["principals"].as_array_mut().unwrap().push(json!({ "type": "api_key", "id": key.id }));
        body["admins"] = json!(["alice"]);
        let made = make(&server, body.clone()).await;
        server.manage("DELETE", "/v1/users/alice", None, 204).await;
        server.manage("DELETE", &format!("/v1/api-keys/{}", key.id), None, 204).await;
        // Clients read a record, change it and write it back, including principals
        // deleted in the meantime.
        let change = json!({ "principals": made["principals"], "admins": made["admins"], "name": "b" });
        let changed = server.manage("PATCH", &path_of(&made), Some(change), 200).await;
        assert_eq!((&changed["principals"], &changed["name"]), (&made["principals"], &json!("b")));
        let refusal = server.manage("POST", "/v1/access-records", Some(body), 422).await;
        assert_eq!(messages(&refusal).len(), 3, "{refusal}");
    }
}
