//! Each type of event that changes what exchanges remember: the change applies to the next exchange,
//! and the new facts are remembered (`tests/mutants/exchange.toml`).

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    DEFAULT_AUDIENCE, is_refused, key_of_a_client, key_of_a_worker, patch_default_audience, scope_of, until_remembered,
};
use crate::support::{Server, body_of, both};

/// Remembers facts, makes `change`, and asserts that facts are remembered again.
async fn remembers_after(server: &Server, change: impl AsyncFnOnce()) {
    let key = server.generic_key(&["a:b"]).await;
    patch_default_audience(server, json!({ "token_ttl": "5m" })).await;
    until_remembered(server, &key).await;
    change().await;
    until_remembered(server, &key).await;
}

async fn create(server: &Server, path: &str, body: Value) -> String {
    let created = server.manage("POST", path, Some(body), 201).await;
    format!("{path}/{}", created["id"].as_str().unwrap())
}

both! {
    async fn role_updated(server: Server) {
        let key = key_of_a_worker(&server, &["a:b", "a:c"]).await;
        until_remembered(&server, &key).await;
        server.role("worker", &["a:b"]).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        until_remembered(&server, &key).await;
    }

    async fn role_deleted_and_created(server: Server) {
        let key = key_of_a_worker(&server, &["a:b", "a:c"]).await;
        server.permissions_for_all(&["z:z"]).await;
        until_remembered(&server, &key).await;
        let set_roles = async |roles: &[&str]| {
            server.manage("PATCH", "/v1/users/alice", Some(json!({ "roles": roles })), 200).await;
        };
        set_roles(&[]).await;
        server.manage("DELETE", "/v1/roles/worker", None, 204).await;
        server.role("worker", &["a:b"]).await;
        set_roles(&["worker"]).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        until_remembered(&server, &key).await;
    }

    async fn service_client_updated(server: Server) {
        let key = key_of_a_client(&server, &["a:b", "a:c"]).await;
        until_remembered(&server, &key).await;
        let path = format!("/v1/service-clients/{}", key.client);
        server.manage("PATCH", &path, Some(json!({ "permissions": ["a:b"] })), 200).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        until_remembered(&server, &key).await;
    }

    async fn service_client_deleted(server: Server, "jobs=by_hand") {
        let other = server.generic_key(&["z:z"]).await;
        let key = key_of_a_client(&server, &["a:b"]).await;
        until_remembered(&server, &key).await;
        server.manage("DELETE", &format!("/v1/service-clients/{}", key.client), None, 204).await;
        assert!(is_refused(&server, &key).await);
        until_remembered(&server, &other).await;
    }

    async fn permission_updated(server: Server) {
        server.permissions_for_all(&["a:b", "a:c"]).await;
        server.organization("acme").await;
        let key = server.key_of(json!({ "type": "organization", "id": "acme" }), &["a:b", "a:c"]).await;
        until_remembered(&server, &key).await;
        let of_users = json!({ "assignable_to": ["user"] });
        server.manage("PUT", "/v1/permissions/a:c", Some(of_users), 200).await;
        assert_eq!(scope_of(&server, &key).await, "a:b");
        until_remembered(&server, &key).await;
    }

    async fn audience_updated(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        until_remembered(&server, &key).await;
        patch_default_audience(&server, json!({ "token_ttl": "2m" })).await;
        let token = body_of(server.exchange(&key.value).await, StatusCode::OK).await;
        assert_eq!(token["expires_in"], 120);
        until_remembered(&server, &key).await;
    }

    async fn integrity_accepted(server: Server) {
        let key = server.generic_key(&["a:b"]).await;
        until_remembered(&server, &key).await;
        let alter = "UPDATE audiences SET version = version + 1 WHERE identifier";
        server.database.sql(&format!("{alter} = '{DEFAULT_AUDIENCE}'"));
        server.accept_altered_rows().await;
        until_remembered(&server, &key).await;
    }

    async fn permission_created(server: Server) {
        remembers_after(&server, async || server.permissions(&["z:z"]).await).await;
    }

    async fn role_created(server: Server) {
        remembers_after(&server, async || server.role("worker", &["a:b"]).await).await;
    }

    async fn service_client_created(server: Server) {
        let body = json!({ "name": "a client" });
        remembers_after(&server, async || drop(create(&server, "/v1/service-clients", body).await)).await;
    }

    async fn audience_created(server: Server) {
        let body = json!({ "identifier": "https://other.test" });
        remembers_after(&server, async || drop(create(&server, "/v1/audiences", body).await)).await;
    }

    async fn permission_deleted(server: Server) {
        server.permissions(&["z:z"]).await;
        remembers_after(&server, async || drop(server.manage("DELETE", "/v1/permissions/z:z", None, 204).await)).await;
    }

    async fn role_deleted(server: Server) {
        server.permissions(&["z:z"]).await;
        server.role("worker", &["z:z"]).await;
        remembers_after(&server, async || drop(server.manage("DELETE", "/v1/roles/worker", None, 204).await)).await;
    }

    async fn audience_deleted(server: Server) {
        let path = create(&server, "/v1/audiences", json!({ "identifier": "https://other.test" })).await;
        remembers_after(&server, async || drop(server.manage("DELETE", &path, None, 204).await)).await;
    }
}
