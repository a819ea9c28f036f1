//! Two tenants with equal contents, and all kinds of callers inside a tenant.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::support::{Key, Server, body_of};

/// The objects of one tenant, and the credentials of its callers.
pub struct Tenant {
    pub organization: String,
    pub admin: String,
    /// A key of the organization with all management permissions.
    pub organization_key: Key,
    /// A personal key of the admin with all management permissions.
    pub personal_key: Key,
    pub client: String,
    pub record: String,
    session: String,
    /// Tokens for `/v1`, one of each key.
    organization_token: String,
    personal_token: String,
}

const MANAGEMENT: [&str; 4] =
    ["projects:read", "api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];

pub async fn two_tenants(server: &Server) -> [Tenant; 2] {
    server.offer_management_permissions().await;
    server.permissions_for_all(&["projects:read"]).await;
    server.role("owner", &MANAGEMENT).await;
    [tenant(server, "ours").await, tenant(server, "theirs").await]
}

async fn tenant(server: &Server, name: &str) -> Tenant {
    let admin = format!("admin-{name}");
    server.organization(name).await;
    server.user(&admin, &[]).await;
    server.member(name, &admin, &["owner"]).await;
    let colleague = format!("colleague-{name}");
    server.user(&colleague, &[]).await;
    server.member(name, &colleague, &["owner"]).await;
    let organization_key = server.key_of(json!({ "type": "organization", "id": name }), &MANAGEMENT).await;
    let owner = json!({ "type": "user", "id": admin, "organization_id": name });
    let personal_key = server.key_of(owner, &MANAGEMENT).await;
    let session = json!({ "user_id": admin, "organization_id": name });
    let session = server.manage("POST", "/v1/portal-sessions", Some(session), 201).await;
    let mut tenant = Tenant {
        organization: name.to_owned(),
        admin,
        client: String::new(),
        record: String::new(),
        session: session["token"].as_str().unwrap().to_owned(),
        organization_token: token(server, &organization_key).await,
        personal_token: token(server, &personal_key).await,
        organization_key,
        personal_key,
    };
    tenant.client = client(server, &tenant).await;
    tenant.record = record(server, &tenant).await;
    tenant
}

async fn token(server: &Server, key: &Key) -> String {
    let answer = server.exchange_for(&key.value, json!({ "audience": "http://keyswap.test/v1" })).await;
    body_of(answer, StatusCode::OK).await["access_token"].as_str().unwrap().to_owned()
}

async fn client(server: &Server, of: &Tenant) -> String {
    let owner = json!({ "type": "organization", "id": of.organization });
    let body = json!({ "name": "a client", "owner": owner, "permissions": ["projects:read"] });
    let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
    client["id"].as_str().unwrap().to_owned()
}

async fn record(server: &Server, of: &Tenant) -> String {
    let body = json!({
        "name": "a record", "organization_id": of.organization,
        // A record of the administrator would limit the administrator's own keys.
        "principals": [{ "type": "user", "id": format!("colleague-{}", of.organization) }],
        "statements": [{ "roles": ["owner"], "resources": ["/projects/*"] }],
    });
    let record = server.manage("POST", "/v1/access-records", Some(body), 201).await;
    record["id"].as_str().unwrap().to_owned()
}

/// The kinds of callers inside a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    OnBehalf,
    PersonalKey,
    PersonalToken,
    Session,
    OrganizationKey,
    OrganizationToken,
}

impl CallerKind {
    pub const ALL: [Self; 6] = [
        Self::OnBehalf,
        Self::PersonalKey,
        Self::PersonalToken,
        Self::Session,
        Self::OrganizationKey,
        Self::OrganizationToken,
    ];

    /// Whether the caller is the organization and not its admin.
    pub const fn is_organization(self) -> bool {
        matches!(self, Self::OrganizationKey | Self::OrganizationToken)
    }

    /// Keys may not change access records, because a key must not determine what it can reach
    /// itself.
    pub const fn may_change_records(self) -> bool {
        matches!(self, Self::OnBehalf | Self::Session)
    }

    pub fn request(self, server: &Server, of: &Tenant, method: &Method, path: &str) -> RequestBuilder {
        let request = server.http.request(method.clone(), server.url(path));
        match self {
            Self::OnBehalf => {
                let who = format!("{}; organization={}", of.admin, of.organization);
                request.bearer_auth(&server.admin).header("keyswap-on-behalf-of", who)
            }
            Self::PersonalKey => request.bearer_auth(&of.personal_key.value),
            Self::PersonalToken => request.bearer_auth(&of.personal_token),
            Self::Session => request.bearer_auth(&of.session),
            Self::OrganizationKey => request.bearer_auth(&of.organization_key.value),
            Self::OrganizationToken => request.bearer_auth(&of.organization_token),
        }
    }
}

/// Two paths of an operation: with the id of an object of the tenant that was created for this
/// call, and with an id that does not exist.
pub struct Target {
    pub known: String,
    pub unknown: String,
}

/// Creates the object of a call to `template`. Returns `None` for objects that belong to no tenant.
pub async fn target(server: &Server, template: &str, theirs: &Tenant, who: CallerKind) -> Option<Target> {
    let (rest, step) = template.strip_prefix("/v1/").unwrap().split_once('/').unwrap();
    let (known, unknown) = match rest {
        "api-keys" => (key(server, theirs, who, step).await, "key_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        "service-clients" => (client(server, theirs).await, "svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        "access-records" => (record(server, theirs).await, "rec_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        // Closed to tenants: see `CLOSED`.
        "organizations" if step.starts_with("{id}/members/{user}") => {
            let user = fresh_user(server).await;
            server.member(&theirs.organization, &user, &[]).await;
            let path = |organization: &str, user: &str| format!("/v1/organizations/{organization}/members/{user}");
            return Some(Target { known: path(&theirs.organization, &user), unknown: path("absents", "absent") });
        }
        "organizations" => {
            let id = format!("more-{}", fresh_user(server).await);
            server.organization(&id).await;
            (id, "absents")
        }
        "users" => (fresh_user(server).await, "absent"),
        "portal-sessions" => {
            let session = json!({ "user_id": theirs.admin, "organization_id": theirs.organization });
            let session = server.manage("POST", "/v1/portal-sessions", Some(session), 201).await;
            (session["id"].as_str().unwrap().to_owned(), "pss_4fY7Qk2ZtR9bXw1M")
        }
        "permissions" | "roles" | "audiences" | "webhooks" | "signing-keys" | "status-lists" => return None,
        other => panic!("/v1/{other}/{{…}}: say here whether it belongs to a tenant, and how to make one"),
    };
    let (_, step) = template.split_once('}').unwrap();
    Some(Target { known: format!("/v1/{rest}/{known}{step}"), unknown: format!("/v1/{rest}/{unknown}{step}") })
}

async fn fresh_user(server: &Server) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("person-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.user(&id, &[]).await;
    id
}

/// Creates a key of the caller's own kind, in a state that permits the step.
async fn key(server: &Server, of: &Tenant, who: CallerKind, step: &str) -> String {
    let owner = if who.is_organization() {
        json!({ "type": "organization", "id": of.organization })
    } else {
        json!({ "type": "user", "id": of.admin, "organization_id": of.organization })
    };
    let key = server.key_of(owner, &["projects:read"]).await;
    match step {
        "{id}/resume" => server.step(&key, "suspend").await,
        "{id}/cancel-rotation" => {
            let path = format!("/v1/api-keys/{}/rotate", key.id);
            server.manage("POST", &path, Some(json!({ "grace": "1h" })), 200).await;
        }
        "{id}" | "{id}/rotate" | "{id}/suspend" | "{id}/revoke" | "{id}/usage" => {}
        other => panic!("/v1/api-keys/{other}: say here in which state a key must be"),
    }
    key.id
}
