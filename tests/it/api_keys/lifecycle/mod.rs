//! The lifecycle of a key: effects of its owner, rotation, expiry and events.

mod descendants;
mod events;
mod expiry_notifications;
mod owners;
mod revocation;
mod rotation;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Key, Server, body_of};

/// Creates an organization and a member with all permissions inside and outside of it.
async fn acme(server: &Server) {
    server.offer_management_permissions().await;
    for name in ["projects:read", "projects:write"] {
        let body = json!({ "assignable_to": ["user", "organization", "service_client"] });
        put(server, &format!("/v1/permissions/{name}"), body).await;
    }
    put(server, "/v1/roles/reader", json!({ "permissions": ["projects:read"] })).await;
    let all = ["projects:read", "projects:write", "api-keys:manage", "user-api-keys:manage-self"];
    put(server, "/v1/roles/writer", json!({ "permissions": all })).await;
    put(server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
    put(server, "/v1/users/ada", json!({ "roles": ["writer"] })).await;
    put(server, "/v1/organizations/acme/members/ada", json!({ "roles": ["writer"] })).await;
}

async fn put(server: &Server, path: &str, body: Value) {
    let request = server.http.put(server.url(path)).bearer_auth(&server.admin).json(&body);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

/// Creates a personal key of ada, optionally within an organization.
async fn personal(server: &Server, organization: Option<&str>) -> Key {
    let owner = json!({ "type": "user", "id": "ada", "organization_id": organization });
    server
        .key(json!({ "name": "a personal key", "owner": owner, "permissions": ["projects:read", "projects:write"] }))
        .await
}

async fn of_acme(server: &Server) -> Key {
    let owner = json!({ "type": "organization", "id": "acme" });
    server.key(json!({ "name": "of acme", "owner": owner, "permissions": ["projects:read"] })).await
}

/// Creates a key of acme on behalf of ada.
async fn of_acme_by_ada(server: &Server) -> Key {
    let body = json!({ "name": "by ada", "owner": { "type": "organization" }, "permissions": ["projects:read"] });
    let request = server.post("/v1/api-keys").bearer_auth(&server.admin).json(&body);
    let made = request.header("keyswap-on-behalf-of", "ada; organization=acme").send().await.unwrap();
    let made = body_of(made, StatusCode::CREATED).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Key { id: text("id"), value: text("value"), client: String::new() }
}

/// Creates a service client of `owner` and a key of it.
async fn of_client_of(server: &Server, owner: Value) -> Key {
    let body = json!({ "name": "a helper", "owner": owner, "permissions": ["projects:read"] });
    let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
    let owner = json!({ "type": "service_client", "id": client["id"] });
    server.key(json!({ "name": "of a helper", "owner": owner, "permissions": ["projects:read"] })).await
}

async fn works(server: &Server, key: &Key) -> bool {
    let status = server.exchange(&key.value).await.status();
    assert!(status == 200 || status == 401, "{status}");
    status == 200
}

/// The state of a key, and the reason if the state follows from its owner.
async fn state(server: &Server, key: &Key) -> (String, Option<String>) {
    let shown = server.manage("GET", &format!("/v1/api-keys/{}", key.id), None, 200).await;
    (shown["state"].as_str().unwrap().to_owned(), shown["state_reason"].as_str().map(str::to_owned))
}

/// The events of a key. `kinds` is a comma-separated list of event types.
async fn events_of(server: &Server, key: &Key, kinds: &str) -> Vec<Value> {
    let path = format!("/v1/events?limit=100&type={kinds}&subject={}", key.id);
    server.manage("GET", &path, None, 200).await["data"].as_array().unwrap().clone()
}

/// Runs the jobs of `server` and asserts that the key then has exactly `count` such events.
async fn events_after_jobs(server: &Server, key: &Key, kinds: &str, count: usize) -> Vec<Value> {
    server.run_jobs().await;
    let found = events_of(server, key, kinds).await;
    assert_eq!(found.len(), count, "{kinds}: {found:?}");
    found
}
