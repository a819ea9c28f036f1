//! A PUT or a line of an import lifts no restriction of a user that it leaves out, and does not
//! change the lock of an operator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    introspection::is_active,
    portal::key_management::session,
    support::{
        Key, Server, both,
        calls::{call, events_after},
    },
};

/// What happens to a member that a PUT leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    /// It stays as it is, because its default could undo a decision.
    Stays,
    /// It is emptied: it restricts nothing.
    IsEmptied,
}
use Omitted::{IsEmptied, Stays};

/// Every optional member of the bodies of all PUT requests.
const MEMBERS: &[(&str, &str, Omitted)] = &[
    ("BrandingPut", "accent", IsEmptied),
    ("BrandingPut", "accent_dark", IsEmptied),
    ("BrandingPut", "logo", IsEmptied),
    ("BrandingPut", "name", IsEmptied),
    ("BrandingPut", "texts", IsEmptied),
    ("MemberPut", "metadata", IsEmptied),
    ("MemberPut", "roles", Stays),
    ("OrganizationPut", "metadata", IsEmptied),
    ("OrganizationPut", "name", IsEmptied),
    ("PermissionPut", "description", IsEmptied),
    ("RolePut", "description", IsEmptied),
    ("UserPut", "blocked", Stays),
    ("UserPut", "metadata", IsEmptied),
    ("UserPut", "profile", IsEmptied),
    ("UserPut", "roles", Stays),
];

async fn put(server: &Server, path: &str, body: Value) -> Value {
    let answer = call(server, &server.admin, "PUT", path, Some(body), &[]).await;
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap()
}

/// Imports one line and returns the report.
async fn import(server: &Server, line: Value) -> Value {
    let request = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", "application/x-ndjson");
    let text = request.body(format!("{line}\n")).send().await.unwrap().text().await.unwrap();
    serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()["report"].clone()
}

/// The user `ann` with the role `editor`, and a key of hers that carries `a`.
async fn ann(server: &Server) -> Key {
    server.permissions_for_all(&["a"]).await;
    server.role("editor", &["a", "user-api-keys:manage-self"]).await;
    server.organization("acme").await;
    server.user("ann", &["editor"]).await;
    server.member("acme", "ann", &["editor"]).await;
    server.key_of(json!({ "type": "user", "id": "ann", "organization_id": "acme" }), &["a"]).await
}

async fn exchanges(server: &Server, key: &Key) -> bool {
    server.exchange(&key.value).await.status() == 200
}

async fn read(server: &Server, path: &str) -> Value {
    server.manage("GET", path, None, 200).await
}

const USER: &str = "/v1/users/ann";
const MEMBER: &str = "/v1/organizations/acme/members/ann";

both! {
    async fn every_optional_member_of_a_put_has_an_answer(server: Server) {
        let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
        let mut found = BTreeMap::new();
        for operations in document["paths"].as_object().unwrap().values() {
            let body = &operations["put"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = body.as_str().and_then(|text| text.rsplit('/').next()) else { continue };
            let schema = &document["components"]["schemas"][name];
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let optional = schema["properties"].as_object().unwrap().keys().filter(|one| !required.contains(&json!(one)));
            found.insert(name.to_owned(), optional.cloned().collect::<Vec<_>>());
        }
        let found: Vec<_> = found.iter().flat_map(|(name, members)| members.iter().map(move |one| (name.as_str(), one.as_str()))).collect();
        assert_eq!(found, MEMBERS.iter().map(|(schema, member, _)| (*schema, *member)).collect::<Vec<_>>());
    }

    async fn blocked_and_roles_that_are_left_out_stay(server: Server) {
        let key = ann(&server).await;
        put(&server, USER, json!({ "blocked": true, "roles": ["editor"], "profile": { "p": 1 }, "metadata": { "m": 1 } })).await;
        assert!(!exchanges(&server, &key).await);
        let stays = |user: &Value| {
            assert_eq!((&user["blocked"], &user["roles"]), (&json!(true), &json!(["editor"])), "{user}");
        };
        let emptied = put(&server, USER, json!({})).await;
        stays(&emptied);
        assert_eq!((&emptied["profile"], &emptied["metadata"]), (&json!({}), &json!({})));
        let report = import(&server, json!({ "type": "user", "id": "ann", "profile": { "p": 2 } })).await;
        assert_eq!(report["updated"], 1, "{report}");
        stays(&read(&server, USER).await);
        assert!(!exchanges(&server, &key).await);
        put(&server, MEMBER, json!({ "roles": ["editor"] })).await;
        put(&server, MEMBER, json!({})).await;
        import(&server, json!({ "type": "member", "organization_id": "acme", "user_id": "ann", "metadata": { "m": 1 } })).await;
        assert_eq!(read(&server, MEMBER).await["roles"], json!(["editor"]));

        // A value that is given applies.
        import(&server, json!({ "type": "user", "id": "ann", "blocked": false, "roles": [] })).await;
        let user = read(&server, USER).await;
        assert_eq!((&user["blocked"], &user["roles"]), (&json!(false), &json!([])));
        assert!(exchanges(&server, &key).await);
        put(&server, MEMBER, json!({ "roles": [] })).await;
        assert_eq!(read(&server, MEMBER).await["roles"], json!([]));
        // The defaults apply to a new entry.
        import(&server, json!({ "type": "user", "id": "bob" })).await;
        let user = read(&server, "/v1/users/bob").await;
        assert_eq!((&user["blocked"], &user["locked"], &user["roles"]), (&json!(false), &json!(false), &json!([])));
    }

    async fn line_of_an_import_follows_the_lines_before_it(server: Server) {
        ann(&server).await;
        let lines = [
            json!({ "type": "user", "id": "ann", "blocked": true }), json!({ "type": "user", "id": "ann", "metadata": { "m": 1 } }),
            json!({ "type": "user", "id": "new", "blocked": true, "roles": ["editor"] }), json!({ "type": "user", "id": "new" }),
        ];
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let request = server.post("/v1/import").bearer_auth(&server.admin).header("content-type", "application/x-ndjson");
        // The status precedes the import, whose end is the end of the body.
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap();
        for id in ["ann", "new"] {
            let user = read(&server, &format!("/v1/users/{id}")).await;
            assert_eq!((&user["blocked"], &user["roles"]), (&json!(true), &json!(["editor"])), "{id}");
        }
    }

    async fn nothing_works_for_a_locked_user(server: Server) {
        let key = ann(&server).await;
        let client = json!({ "name": "c", "owner": { "type": "user", "id": "ann", "organization_id": "acme" }, "permissions": ["a"] });
        let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
        let of_client = server.key_of(json!({ "type": "service_client", "id": client["id"] }), &["a"]).await;
        let token = server.fetch_token(&key.value).await;
        let session = session(&server, "ann", "acme").await;
        let on_behalf = async || server.on_behalf("ann; organization=acme", "GET", "/v1/api-keys").send().await.unwrap().status().as_u16();
        let works = async || [
            exchanges(&server, &key).await, exchanges(&server, &of_client).await,
            is_active(&server, &key.value).await, is_active(&server, &token).await,
            call(&server, &session, "GET", "/v1/api-keys", None, &[]).await.status() == 200, on_behalf().await == 200,
        ];
        assert_eq!(works().await, [true; 6]);
        let locked = server.manage("POST", "/v1/users/ann/lock", Some(json!({ "reason": "stolen laptop" })), 200).await;
        assert_eq!((&locked["locked"], &locked["lock_reason"], &locked["blocked"]), (&json!(true), &json!("stolen laptop"), &json!(false)));
        assert_eq!(works().await, [false; 6]);
        assert_eq!(read(&server, &format!("/v1/api-keys/{}", key.id)).await["state"], "suspended");
        let open = json!({ "user_id": "ann", "organization_id": "acme" });
        server.manage("POST", "/v1/portal-sessions", Some(open), 422).await;
        let more = json!({ "name": "k", "owner": { "type": "user", "id": "ann", "organization_id": "acme" }, "permissions": ["a"] });
        server.manage("POST", "/v1/api-keys", Some(more), 422).await;

        // No write of the mirror touches the lock.
        put(&server, USER, json!({ "blocked": false, "roles": ["editor"] })).await;
        import(&server, json!({ "type": "user", "id": "ann", "blocked": false, "metadata": { "m": 1 } })).await;
        server.manage("PATCH", USER, Some(json!({ "blocked": true })), 200).await;
        server.manage("PATCH", USER, Some(json!({ "blocked": false })), 200).await;
        put(&server, MEMBER, json!({ "roles": ["editor"] })).await;
        for body in [json!({ "locked": false }), json!({ "lock_reason": null })] {
            for method in ["PUT", "PATCH"] {
                server.manage(method, USER, Some(body.clone()), 422).await;
            }
            let mut line = json!({ "type": "user", "id": "ann" });
            line.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            assert_eq!(import(&server, line).await["refused"], 1);
        }
        let user = read(&server, USER).await;
        assert_eq!((&user["locked"], &user["lock_reason"]), (&json!(true), &json!("stolen laptop")));
        assert_eq!(works().await, [false; 6]);
        let unlocked = server.manage("POST", "/v1/users/ann/unlock", None, 200).await;
        assert_eq!((&unlocked["locked"], &unlocked["lock_reason"]), (&json!(false), &json!(null)));
        assert_eq!(works().await, [true; 6]);
        // A user who is blocked and locked needs both decisions to be taken back.
        server.manage("POST", "/v1/users/ann/lock", None, 200).await;
        server.manage("PATCH", USER, Some(json!({ "blocked": true })), 200).await;
        server.manage("POST", "/v1/users/ann/unlock", None, 200).await;
        assert_eq!(works().await, [false; 6]);
        server.manage("PATCH", USER, Some(json!({ "blocked": false })), 200).await;
        assert_eq!(works().await, [true; 6]);
    }

    async fn lock_belongs_to_the_operator(server: Server) {
        ann(&server).await;
        let mirror = server.client_key(&["keyswap:directory"]).await;
        let manager = server.client_key(&["keyswap:keys"]).await;
        let send = async |key: &Key, method: &str, path: &str| call(&server, &key.value, method, path, None, &[]).await.status().as_u16();
        assert_eq!(send(&mirror, "POST", "/v1/users/ann/lock").await, 403);
        let before = server.events().await.len();
        assert_eq!(send(&manager, "POST", "/v1/users/ann/lock").await, 200);
        assert_eq!(send(&manager, "POST", "/v1/users/ann/lock").await, 200, "changes nothing");
        for key in [&mirror, &manager] {
            assert_eq!(send(key, "POST", "/v1/users/ann/unlock").await, 403);
        }
        // Deleting and creating the user again would undo the lock.
        assert_eq!(send(&mirror, "DELETE", USER).await, 409);
        server.manage("POST", "/v1/users/ann/unlock", None, 200).await;
        assert_eq!(events_after(&server, before).await, ["user.locked", "user.unlocked"]);
        server.manage("POST", "/v1/users/ann/lock", None, 200).await;
        server.manage("DELETE", USER, None, 204).await;
        server.manage("POST", "/v1/users/unknown/lock", None, 404).await;
        server.manage("POST", "/v1/users/unknown/unlock", None, 404).await;
    }
}
