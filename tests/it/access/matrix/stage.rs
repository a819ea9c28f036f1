//! The objects of both organizations and of the account, and the paths and bodies of requests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::{
    callers::{ACCOUNT, COLLEAGUE, Caller, LONER, MEMBERS, OURS, Owner, PRODUCT, STRANGER, THEIRS, member},
    operations::{Kind, Operation, Right, Rule},
};
use crate::support::{Server, body_of, wire};

/// The objects of one owner.
pub struct Objects {
    pub key: String,
    pub client: String,
    pub record: String,
}

pub struct Stage {
    pub objects: BTreeMap<Owner, Objects>,
    audience: String,
    webhook: String,
    delivery: String,
}

/// A new name.
pub fn fresh(of: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{of}-{}", COUNT.fetch_add(1, Ordering::SeqCst))
}

impl Stage {
    pub async fn new(server: &Server) -> Self {
        directory(server).await;
        let audience = created(server, "/v1/audiences", json!({ "identifier": "https://projects.test" })).await;
        let url = "http://127.0.0.1:65535/";
        let webhook = created(server, "/v1/webhooks", json!({ "url": url })).await;
        let mut objects = BTreeMap::new();
        let members = MEMBERS.map(|(user, _)| member(user));
        for owner in [ACCOUNT, OURS, THEIRS, COLLEAGUE, STRANGER, LONER].into_iter().chain(members) {
            objects.insert(owner, Objects::new(server, owner).await);
        }
        server.deliver().await;
        let log = server.manage("GET", &format!("/v1/webhooks/{webhook}/deliveries"), None, 200).await;
        let delivery = log["data"][0]["id"].as_str().unwrap().to_owned();
        Self { objects, audience, webhook, delivery }
    }

    /// The path of an operation on the object of `target`.
    pub async fn path(&self, server: &Server, operation: &Operation, target: Owner) -> String {
        let template = operation.template.as_str();
        let Some((collection, rest)) = template.split_once("/{") else {
            return match operation.rule {
                Rule::Object(_, Right::List) => format!("{template}?limit=100"),
                // Without a filter it is refused.
                _ if operation.name == "DELETE /v1/portal-sessions" => format!("{template}?user=absent"),
                _ => template.to_owned(),
            };
        };
        let (_, step) = rest.split_once('}').unwrap();
        let organization = if target.organization == THEIRS.organization { "theirs" } else { "ours" };
        let user = bystander(Some(organization));
        let id = match collection {
            "/v1/api-keys" => self.objects[&target].key.clone(),
            "/v1/service-clients" => self.objects[&target].client.clone(),
            "/v1/access-records" => self.objects[&target].record.clone(),
            "/v1/organizations" => organization.to_owned(),
            "/v1/users" => user.to_owned(),
            "/v1/permissions" => PRODUCT.to_owned(),
            "/v1/roles" => "every".to_owned(),
            "/v1/audiences" => self.audience.clone(),
            "/v1/webhooks" => self.webhook.clone(),
            "/v1/portal-sessions" => {
                created(server, "/v1/portal-sessions", json!({ "user_id": user, "organization_id": organization }))
                    .await
            }
            "/v1/signing-keys" => next_signing_key(server).await,
            other => panic!("{other}/{{…}}: say here what to name"),
        };
        let step = step.replace("{user}", user).replace("{delivery}", &self.delivery);
        format!("{collection}/{id}{step}")
    }

    /// A valid body. `None` for operations without one.
    pub fn body(&self, operation: &str, caller: &Caller, target: Owner) -> Option<Value> {
        let new = |owner: Value| json!({ "name": "a", "owner": owner, "permissions": [] });
        let organization = target.organization.unwrap_or("ours");
        let user = target.user.unwrap_or_else(|| bystander(Some(organization)));
        Some(match operation {
            "POST /v1/api-keys" => new(target.of_key()),
            "POST /v1/service-clients" => new(target.of_client()),
            "POST /v1/access-records" => {
                record(target, target.user.unwrap_or_else(|| bystander(target.organization)), caller.owner)
            }
            "POST /v1/api-keys/{id}/rotate" => json!({ "grace": "1h" }),
            "POST /v1/api-keys/validate" => json!({ "value": wire::unknown() }),
            "POST /v1/access/check" => {
                let principal = json!({ "type": "api_key", "id": self.objects[&ACCOUNT].key });
                json!({ "principal": principal, "permission": PRODUCT, "resource": "/projects/1" })
            }
            "POST /v1/exchange" | "POST /v1/exchange/explain" => json!({ "audience": "http://keyswap.test/v1" }),
            "POST /v1/audiences" => json!({ "identifier": format!("https://{}.test", fresh("audience")) }),
            "POST /v1/portal-sessions" => json!({ "user_id": user, "organization_id": organization }),
            "POST /v1/webhooks" => json!({ "url": "http://127.0.0.1:65535/" }),
            "POST /v1/signing-keys" => json!({ "key": "not a key" }),
            "POST /v1/signing-keys/rotate" => json!({ "dry_run": true }),
            "PUT /v1/permissions/{name}" => json!({ "assignable_to": ["user"] }),
            "PUT /v1/roles/{name}" => json!({ "permissions": [] }),
            _ if operation.starts_with("PUT ") || operation.starts_with("PATCH ") => json!({}),
            _ => return None,
        })
    }
}

/// A user whose keys call nothing, so that an access record may restrict them.
fn bystander(organization: Option<&str>) -> &'static str {
    match organization {
        None => "bystander",
        Some("theirs") => "stranger",
        Some(_) => "colleague",
    }
}

/// An access record in the tenant scope of `owner` that names `principal`. It grants no permission,
/// on resources that the template of the deployment lets `caller` grant.
fn record(owner: Owner, principal: &str, caller: Owner) -> Value {
    let resources = format!("/users/{}/*", caller.user.unwrap_or(principal));
    json!({
        "name": "a record", "organization_id": owner.organization,
        "principals": [{ "type": "user", "id": principal }],
        "statements": [{ "roles": ["nothing"], "resources": [resources] }],
    })
}

impl Objects {
    pub fn id(&self, kind: Kind) -> &str {
        match kind {
            Kind::ApiKey => &self.key,
            Kind::ServiceClient => &self.client,
            Kind::AccessRecord => &self.record,
        }
    }

    /// Creates the objects of an owner. A user is an admin of their record.
    async fn new(server: &Server, owner: Owner) -> Self {
        let new = |owner: Value| json!({ "name": "a", "owner": owner, "permissions": [] });
        let key = created(server, "/v1/api-keys", new(owner.of_key())).await;
        let client = created(server, "/v1/service-clients", new(owner.of_client())).await;
        let mut body = record(owner, bystander(owner.organization), owner);
        body["admins"] = owner.user.into_iter().collect();
        let record = created(server, "/v1/access-records", body).await;
        Self { key, client, record }
    }
}

/// The roles, organizations and users.
pub async fn directory(server: &Server) {
    server.offer_management_permissions().await;
    server.permissions_for_all(&[PRODUCT]).await;
    server.role("nothing", &[]).await;
    for (name, permissions) in MEMBERS {
        server.role(name, permissions).await;
    }
    server.organization("ours").await;
    server.organization("theirs").await;
    for (name, _) in MEMBERS {
        server.user(name, &[]).await;
        server.member("ours", name, &[name]).await;
    }
    server.user("colleague", &[]).await;
    server.member("ours", "colleague", &[]).await;
    server.user("stranger", &[]).await;
    server.member("theirs", "stranger", &["every"]).await;
    server.user("loner", &["manage-self"]).await;
    server.user("bystander", &[]).await;
}

/// Creates an object as the administrator and returns its id.
pub async fn created(server: &Server, collection: &str, body: Value) -> String {
    server.manage("POST", collection, Some(body), 201).await["id"].as_str().unwrap().to_owned()
}

/// Creates an object and returns its id.
pub async fn created_by(server: &Server, caller: &Caller, collection: &str, body: &Value) -> String {
    let answer = caller.request(server, &reqwest::Method::POST, collection).json(body).send().await.unwrap();
    body_of(answer, reqwest::StatusCode::CREATED).await["id"].as_str().unwrap().to_owned()
}

/// A key that has signed nothing, so that its revocation invalidates no token.
async fn next_signing_key(server: &Server) -> String {
    let all = server.manage("GET", "/v1/signing-keys", None, 200).await;
    let next = all["data"].as_array().unwrap().iter().find(|key| key["state"] == "next").unwrap().clone();
    next["kid"].as_str().unwrap().to_owned()
}
