//! Keys of users and organizations can have management permissions only if the administrator makes
//! them assignable.

use serde_json::{Value, json};

use crate::{
    portal::key_management::session,
    support::{Server, both, calls::call, wire::problem},
};

const TENANT: [&str; 3] = ["api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];

/// A member of `acme` whose role has every management permission of tenants, and `projects:read`.
async fn member(server: &Server) {
    server.permissions_for_all(&["projects:read"]).await;
    server.role("all", &[&TENANT[..], &["projects:read"]].concat()).await;
    server.organization("acme").await;
    server.user("alice", &["all"]).await;
    server.member("acme", "alice", &["all"]).await;
}

/// Every owner in a tenant: the member, the user outside organizations, and the organization.
fn owners() -> [Value; 3] {
    [
        json!({ "type": "user", "id": "alice", "organization_id": "acme" }),
        json!({ "type": "user", "id": "alice" }),
        json!({ "type": "organization", "id": "acme" }),
    ]
}

/// Creates a key of `owner` with `permission`, for each owner itself and for a service client of it,
/// and returns the statuses.
async fn create(server: &Server, owner: &Value, permission: &str) -> [u16; 2] {
    let post = async |path: &str, body: Value| call(server, &server.admin, "POST", path, Some(body), &[]).await;
    let key = post("/v1/api-keys", json!({ "name": "k", "owner": owner, "permissions": [permission] })).await;
    let client = json!({ "name": "c", "owner": owner, "permissions": [permission] });
    [key.status().as_u16(), post("/v1/service-clients", client).await.status().as_u16()]
}

async fn offer(server: &Server, permission: &str, to: &[&str]) -> Value {
    let path = format!("/v1/permissions/{permission}");
    server.manage("PUT", &path, Some(json!({ "assignable_to": to })), 200).await
}

/// The permissions that keys of this owner type may carry, as the catalog lists them.
async fn assignable(server: &Server, owner_type: &str) -> Vec<String> {
    let page = server.manage("GET", &format!("/v1/permissions?assignable_to={owner_type}"), None, 200).await;
    page["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

both! {
    // Features: W6.
    async fn management_permissions_are_not_offered_to_tenants(server: Server) {
        member(&server).await;
        for owner_type in ["user", "organization"] {
            assert_eq!(assignable(&server, owner_type).await, ["projects:read"]);
        }
        for owner in owners() {
            assert_eq!(create(&server, &owner, "projects:read").await, [201; 2], "control: {owner}");
            for permission in TENANT {
                assert_eq!(create(&server, &owner, permission).await, [422; 2], "{owner}: {permission}");
            }
        }
        // A session has the permissions of its user, and none of them is offered for its keys.
        let session = session(&server, "alice", "acme").await;
        let current = call(&server, &session, "GET", "/v1/portal-sessions/current", None, &[]).await;
        let current: Value = current.json().await.unwrap();
        for keys in ["user", "organization"] {
            assert_eq!(current[keys]["permissions"].as_array().unwrap().len(), 1, "{current}");
        }
        for permission in TENANT {
            let body = json!({ "name": "k", "permissions": [permission] });
            let refused = problem(call(&server, &session, "POST", "/v1/api-keys", Some(body), &[]).await, 422, "invalid").await;
            assert!(refused["errors"][0]["message"].as_str().unwrap().contains("cannot be assigned"), "{refused}");
            // A key that exists cannot receive them either.
            let key = server.key_of(json!({ "type": "organization", "id": "acme" }), &[]).await;
            let body = json!({ "permissions": [permission] });
            server.manage("PATCH", &format!("/v1/api-keys/{}", key.id), Some(body), 422).await;
        }
    }

    async fn service_clients_of_the_account_are_unaffected(server: Server) {
        for permission in [&TENANT[..], &["keyswap:admin", "keyswap:keys"]].concat() {
            let client = json!({ "name": "c", "permissions": [permission] });
            let client = server.manage("POST", "/v1/service-clients", Some(client), 201).await;
            server.key_of(json!({ "type": "service_client", "id": client["id"] }), &[permission]).await;
        }
    }

    async fn deployment_offers_each_permission_to_each_owner_type(server: Server) {
        member(&server).await;
        let [member, user, organization] = owners();
        for permission in TENANT {
            let before = server.manage("GET", &format!("/v1/permissions/{permission}"), None, 200).await;
            let offered = offer(&server, permission, &["service_client", "user"]).await;
            assert_eq!(offered["description"], before["description"], "the description stays");
            assert_eq!(offered["built_in"], true);
            for owner in [&member, &user] {
                assert_eq!(create(&server, owner, permission).await, [201; 2], "{owner}: {permission}");
            }
            assert_eq!(create(&server, &organization, permission).await, [422; 2], "{permission}");
            offer(&server, permission, &["service_client", "organization"]).await;
            assert_eq!(create(&server, &organization, permission).await, [201; 2], "{permission}");
            assert_eq!(create(&server, &member, permission).await, [422; 2], "{permission}");
        }
        // Nothing else of a built-in permission can be changed.
        for (name, body) in [
            ("api-keys:manage", json!({ "assignable_to": ["user"], "description": "another" })),
            ("keyswap:keys", json!({ "assignable_to": ["user"] })),
            ("keyswap:admin", json!({ "assignable_to": ["service_client", "organization"] })),
        ] {
            server.manage("PUT", &format!("/v1/permissions/{name}"), Some(body), 409).await;
        }
        server.manage("DELETE", "/v1/permissions/api-keys:manage", None, 409).await;
        let manager = server.client_key(&["keyswap:keys", "keyswap:directory"]).await;
        let body = Some(json!({ "assignable_to": ["user"] }));
        assert_eq!(call(&server, &manager.value, "PUT", "/v1/permissions/api-keys:manage", body, &[]).await.status(), 403);
    }

    async fn withdrawn_offer_ends_with_the_next_request_of_an_organization_key(server: Server) {
        member(&server).await;
        offer(&server, "api-keys:manage", &["service_client", "organization"]).await;
        let key = server.key_of(json!({ "type": "organization", "id": "acme" }), &["api-keys:manage"]).await;
        let list = async || call(&server, &key.value, "GET", "/v1/api-keys", None, &[]).await.status().as_u16();
        assert_eq!(list().await, 200);
        offer(&server, "api-keys:manage", &["service_client"]).await;
        assert_eq!(list().await, 403);
    }
}
