//! An organization with members, and what operators granted to them and to their objects.

use serde_json::{Value, json};

use super::{Credential, record, statement};
use crate::support::{Key, Server};

pub const ALICE: &str = "alice; organization=acme";
pub const MAX: &str = "max; organization=acme";

/// Alice and Bob manage their own keys; Max also manages those of the organization. Operators gave
/// each of them some resources, and limit a service client of Alice and one of the organization.
pub struct Stage {
    pub alice: Value,
    pub bob: Value,
    pub max: Value,
    /// Keys of Alice, Bob and Max.
    pub keys: [Key; 3],
    /// A service client of Alice that an operator limits, and its record.
    pub limited: Value,
    pub limit: String,
    /// A service client of the organization that an operator limits.
    pub shared: Value,
    /// A service client of Bob.
    pub of_bob: Value,
}

pub fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

pub fn client(id: &Value) -> Value {
    json!({ "type": "service_client", "id": id })
}

pub fn key(id: &str) -> Value {
    json!({ "type": "api_key", "id": id })
}

/// The principal as `/v1/access/check` takes it.
pub fn within_acme(principal: &Value) -> Value {
    let mut principal = principal.clone();
    principal["organization_id"] = json!("acme");
    principal
}

pub async fn grant(server: &Server, principal: &Value, statements: &[Value], admins: &[&str]) -> String {
    let mut body = record(principal, statements);
    body["organization_id"] = json!("acme");
    body["admins"] = json!(admins);
    let made = server.manage("POST", "/v1/access-records", Some(body), 201).await;
    format!("/v1/access-records/{}", made["id"].as_str().unwrap())
}

impl Stage {
    pub async fn new(server: &Server) -> Self {
        server.offer_management_permissions().await;
        server.permissions_for_all(&["docs:read", "docs:edit"]).await;
        for (name, permissions) in [
            ("viewer", vec!["docs:read"]),
            ("editor", vec!["docs:edit"]),
            ("both", vec!["docs:read", "docs:edit"]),
            ("self", vec!["user-api-keys:manage-self"]),
            ("manager", vec!["user-api-keys:manage-self", "api-keys:manage"]),
        ] {
            server.role(name, &permissions).await;
        }
        server.organization("acme").await;
        let mut keys = Vec::new();
        for (id, role) in [("alice", "self"), ("bob", "self"), ("max", "manager")] {
            server.user(id, &[]).await;
            server.member("acme", id, &["both", role]).await;
            let owner = json!({ "type": "user", "id": id, "organization_id": "acme" });
            let mut permissions = vec!["docs:read", "docs:edit", "user-api-keys:manage-self"];
            if id == "max" {
                permissions.push("api-keys:manage");
            }
            keys.push(server.key_of(owner, &permissions).await);
        }
        let of = |owner: Value| json!({ "name": "c", "owner": owner, "permissions": ["docs:read"] });
        let member = |id: &str| json!({ "type": "user", "id": id, "organization_id": "acme" });
        let mut clients = Vec::new();
        for owner in [member("alice"), json!({ "type": "organization", "id": "acme" }), member("bob")] {
            let made = server.manage("POST", "/v1/service-clients", Some(of(owner)), 201).await;
            clients.push(client(&made["id"]));
        }
        let [limited, shared, of_bob] = clients.try_into().unwrap();
        let mut stage = Self {
            alice: user("alice"),
            bob: user("bob"),
            max: user("max"),
            keys: keys.try_into().ok().unwrap(),
            limited,
            limit: String::new(),
            shared,
            of_bob,
        };
        stage.grant_all(server).await;
        stage
    }

    /// Grants what operators grant, and removes everything else that changed.
    pub async fn reset(&mut self, server: &Server) {
        for record in server.manage("GET", "/v1/access-records?limit=100", None, 200).await["data"].as_array().unwrap()
        {
            server.manage("DELETE", &format!("/v1/access-records/{}", record["id"].as_str().unwrap()), None, 204).await;
        }
        for one in [&self.limited, &self.shared, &self.of_bob] {
            let path = format!("/v1/service-clients/{}", one["id"].as_str().unwrap());
            server.manage("PATCH", &path, Some(json!({ "permissions": ["docs:read"] })), 200).await;
        }
        for (one, management) in self.keys.iter().zip([None, None, Some("api-keys:manage")]) {
            let permissions = ["docs:read", "docs:edit", "user-api-keys:manage-self"].into_iter().chain(management);
            let body = json!({ "permissions": permissions.collect::<Vec<_>>(), "record_bound": false });
            server.manage("PATCH", &format!("/v1/api-keys/{}", one.id), Some(body), 200).await;
        }
        self.grant_all(server).await;
    }

    async fn grant_all(&mut self, server: &Server) {
        grant(server, &self.alice, &[statement("viewer", "/shared/*")], &["alice"]).await;
        grant(server, &self.max, &[statement("both", "/acme/*")], &["max"]).await;
        grant(server, &self.bob, &[statement("both", "/bob/*")], &[]).await;
        self.limit = grant(server, &self.limited, &[statement("both", "/shared/a")], &["alice"]).await;
        grant(server, &self.shared, &[statement("viewer", "/acme/1")], &["max"]).await;
    }

    /// Every way in which a user calls for itself: on behalf of, and by a portal session.
    pub async fn credentials(&self, server: &Server, who: &'static str) -> Vec<Credential> {
        let id = who.split(';').next().unwrap();
        let body = json!({ "user_id": id, "organization_id": "acme" });
        let session = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
        vec![
            Credential { value: server.admin.clone(), on_behalf_of: Some(who) },
            Credential::new(session["token"].as_str().unwrap().to_owned()),
        ]
    }
}
