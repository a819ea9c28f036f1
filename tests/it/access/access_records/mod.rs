//! Access records (roles on resources), as used by the host application, its users and its
//! services.

mod authorization;
mod authorization_details;
mod check_access;
mod client_bundles;
mod objects;
mod resource_patterns;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::calls::call,
    support::{Key, Server, body_of, verify},
};

const TYPE: &str = "urn:keyswap:params:oauth:authorization-details:access";
/// The permission that lets a user manage their own keys and access records.
const SELF: &str = "user-api-keys:manage-self";

/// Creates permissions that every type of key may carry, and the four sample roles that hold them.
async fn sample_roles(server: &Server) {
    for name in ["docs:read", "docs:edit", "docs:create"] {
        let body = json!({ "assignable_to": ["user", "organization", "service_client"] });
        server.manage("PUT", &format!("/v1/permissions/{name}"), Some(body), 201).await;
    }
    for (name, permissions) in [
        ("Editor", vec!["docs:edit"]),
        ("Viewer", vec!["docs:read"]),
        ("Creator", vec!["docs:create"]),
        ("Admin", vec!["docs:create", "docs:edit", "docs:read"]),
    ] {
        role(server, name, &permissions).await;
    }
    role(server, "self", &[SELF]).await;
    role(server, "manager", &["api-keys:manage"]).await;
}

async fn role(server: &Server, name: &str, permissions: &[&str]) {
    server.manage("PUT", &format!("/v1/roles/{name}"), Some(json!({ "permissions": permissions })), 201).await;
}

async fn user(server: &Server, id: &str, roles: &[&str]) {
    server.manage("PUT", &format!("/v1/users/{id}"), Some(json!({ "roles": roles })), 201).await;
}

async fn organization(server: &Server, id: &str) {
    server.manage("PUT", &format!("/v1/organizations/{id}"), Some(json!({})), 201).await;
}

async fn member(server: &Server, organization: &str, user: &str, roles: &[&str]) {
    let path = format!("/v1/organizations/{organization}/members/{user}");
    server.manage("PUT", &path, Some(json!({ "roles": roles })), 201).await;
}

/// Calls the API on behalf of a user. `who` is a `keyswap-on-behalf-of` value: `alice` or
/// `alice; organization=acme`.
async fn as_user(server: &Server, who: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    call(server, &server.admin, method, path, body, &[("keyswap-on-behalf-of", who)]).await
}

/// Calls `as_user`, asserts the status and returns the body.
async fn call_on_behalf(
    server: &Server,
    who: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
    status: u16,
) -> Value {
    body_of(as_user(server, who, method, path, body).await, StatusCode::from_u16(status).unwrap()).await
}

/// Creates a personal key, optionally within an organization.
async fn personal_key(server: &Server, user: &str, organization: Option<&str>, permissions: &[&str]) -> Key {
    let owner = json!({ "type": "user", "id": user, "organization_id": organization });
    server.key(json!({ "name": "a key", "owner": owner, "permissions": permissions })).await
}

fn statement(roles: &[&str], resources: &[&str]) -> Value {
    json!({ "roles": roles, "resources": resources })
}

fn record(kind: &str, id: &str, statements: Value) -> Value {
    json!({ "name": "a record", "principals": [{ "type": kind, "id": id }], "statements": statements })
}

async fn make(server: &Server, body: Value) -> Value {
    server.manage("POST", "/v1/access-records", Some(body), 201).await
}

fn path_of(record: &Value) -> String {
    format!("/v1/access-records/{}", record["id"].as_str().unwrap())
}

/// Returns the `authorization_details` of a token for the default audience, or null if absent.
/// Asserts that the claim equals the member of the token response.
async fn details(server: &Server, key: &str) -> Value {
    let body = body_of(server.exchange(key).await, StatusCode::OK).await;
    let claims = verify(server, body["access_token"].as_str().unwrap(), "http://keyswap.test").await;
    assert_eq!(claims["authorization_details"], body["authorization_details"]);
    claims["authorization_details"].clone()
}

fn detail(actions: &[&str], locations: &[&str]) -> Value {
    json!({ "type": TYPE, "actions": actions, "locations": locations })
}

async fn asked(server: &Server, body: Value) -> bool {
    server.manage("POST", "/v1/access/check", Some(body), 200).await["allowed"].as_bool().unwrap()
}

fn messages(refusal: &Value) -> Vec<String> {
    let faults = refusal["errors"].as_array().unwrap().iter();
    faults
        .map(|fault| format!("{}: {}", fault["field"].as_str().unwrap(), fault["message"].as_str().unwrap()))
        .collect()
}
