//! Tests of the required features. `docs/reference/features.md` lists all features and
//! their tests.

mod identity;
mod key_lifecycle;
mod keys;
mod list;
mod wire_forms;

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{Key, Server, calls::call};

async fn put(server: &Server, path: &str, body: Value) {
    let answer = call(server, &server.admin, "PUT", path, Some(body), &[]).await;
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

/// Creates a sample directory: organization `acme` with `ann`, who manages its keys, and `bob`, who
/// reads and manages his own keys; `carol` belongs to no organization.
async fn product(server: &Server) {
    server.offer_management_permissions().await;
    for (name, to) in [
        ("projects:read", json!(["user", "organization", "service_client"])),
        ("projects:write", json!(["user", "organization", "service_client"])),
        ("projects:drop", json!(["user"])),
    ] {
        put(server, &format!("/v1/permissions/{name}"), json!({ "assignable_to": to })).await;
    }
    for (role, permissions) in [
        ("reader", json!(["projects:read", "user-api-keys:manage-self"])),
        (
            "admin",
            json!([
                "projects:read",
                "projects:write",
                "api-keys:manage",
                "user-api-keys:manage-self",
                "user-api-keys:manage-all"
            ]),
        ),
    ] {
        put(server, &format!("/v1/roles/{role}"), json!({ "permissions": permissions })).await;
    }
    put(server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
    put(server, "/v1/users/ann", json!({})).await;
    put(server, "/v1/users/bob", json!({})).await;
    put(server, "/v1/users/carol", json!({ "roles": ["reader"] })).await;
    put(server, "/v1/organizations/acme/members/ann", json!({ "roles": ["admin"] })).await;
    put(server, "/v1/organizations/acme/members/bob", json!({ "roles": ["reader"] })).await;
}

/// Calls the API on behalf of a user, as the back end of the host application does.
async fn as_user(server: &Server, user: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    let who = if user == "carol" { user.to_owned() } else { format!("{user}; organization=acme") };
    call(server, &server.admin, method, path, body, &[("keyswap-on-behalf-of", &who)]).await
}

async fn key_of(server: &Server, owner: Value, permissions: &[&str]) -> Key {
    server.key(json!({ "name": "a key", "owner": owner, "permissions": permissions })).await
}

fn ann() -> Value {
    json!({ "type": "user", "id": "ann", "organization_id": "acme" })
}

fn acme() -> Value {
    json!({ "type": "organization", "id": "acme" })
}
