//! A key restricted to resources by an access record cannot create a key without the restriction.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::powers::{DEFAULT, Powers};
use crate::support::{Kind, Server, body_of};

const PERMISSIONS: [&str; 3] = ["projects:read", "user-api-keys:manage-self", "api-keys:manage"];

async fn restrict(server: &Server, principal: Value) {
    let statements = json!([{ "roles": ["reader"], "resources": ["/one/*"] }]);
    let body = json!({ "name": "r", "organization_id": "acme", "principals": [principal], "statements": statements });
    server.manage("POST", "/v1/access-records", Some(body), 201).await;
}

async fn call(server: &Server, credential: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = server.post(path).bearer_auth(credential).json(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Creates a key with `body` using `maker`, and lists what the new key grants beyond `maker`.
async fn exceeds(server: &Server, maker: &str, maker_id: &str, body: Value) -> Vec<String> {
    let had = Powers::of(server, maker_id, maker, true).await;
    assert!(had.tokens[DEFAULT].locations.contains_key("projects:read"), "{had:?}");
    let (status, made) = call(server, maker, "/v1/api-keys", &body).await;
    if !status.is_success() {
        return Vec::new();
    }
    let (id, value) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
    Powers::of(server, id, value, true).await.exceeds(&had)
}

async fn holes(server: Server) {
    server.offer_management_permissions().await;
    server.permissions_for_all(&["projects:read"]).await;
    server.role("worker", &PERMISSIONS).await;
    server.role("reader", &["projects:read"]).await;
    server.organization("acme").await;
    let mut found = Vec::new();
    for user in ["alice", "bob"] {
        server.user(user, &[]).await;
        server.member("acme", user, &["worker"]).await;
    }
    let owner = |user: &str| json!({ "type": "user", "id": user, "organization_id": "acme" });
    let child = |owner: Value| json!({ "name": "c", "owner": owner, "permissions": ["projects:read"] });

    let key = server.key_of(owner("bob"), &PERMISSIONS).await;
    restrict(&server, json!({ "type": "api_key", "id": key.id })).await;
    found.push(("another of its user", exceeds(&server, &key.value, &key.id, child(json!({ "type": "user" }))).await));

    restrict(&server, json!({ "type": "user", "id": "alice" })).await;
    let key = server.key_of(owner("alice"), &PERMISSIONS).await;
    let of_organization = child(json!({ "type": "organization" }));
    found.push(("one of the organization", exceeds(&server, &key.value, &key.id, of_organization).await));
    let client = json!({ "name": "c", "permissions": ["projects:read"] });
    let (status, client) = call(&server, &key.value, "/v1/service-clients", &client).await;
    if status.is_success() {
        let of_client = child(json!({ "type": "service_client", "id": client["id"] }));
        found.push(("one of a service client", exceeds(&server, &key.value, &key.id, of_client).await));
    }

    let before = Powers::of(&server, &key.id, &key.value, true).await;
    let opener = server.client_key(&["keyswap:sessions"]).await;
    server.permissions_for_all(&["projects:read"]).await;
    let open = json!({ "user_id": "alice", "organization_id": "acme" });
    let open = server.post("/v1/portal-sessions").bearer_auth(&opener.value).json(&open);
    let session = body_of(open.send().await.unwrap(), StatusCode::CREATED).await;
    let statements = json!([{ "roles": ["reader"], "resources": ["/two/*"] }]);
    let principal = json!({ "type": "user", "id": "alice" });
    let record = json!({ "name": "r", "principals": [principal], "statements": statements });
    call(&server, session["token"].as_str().unwrap(), "/v1/access-records", &record).await;
    let after = Powers::of(&server, &key.id, &key.value, true).await;
    found.push(("a record that its user makes", after.exceeds(&before)));

    let holes: Vec<_> = found.iter().filter(|(_, more)| !more.is_empty()).collect();
    assert!(holes.is_empty(), "{holes:#?}");
}

#[test]
fn key_restricted_to_resources_cannot_create_an_unrestricted_key() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        Server::run(kind, &[], holes);
    }
}
