//! Tenants are walls: whatever belongs to another organization looks, byte by byte, like what does not exist. Generated from the OpenAPI
//! document, so that an endpoint that is added later cannot be forgotten.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, both};

/// Everything that one tenant has.
struct Tenant {
    organization: String,
    admin: String,
    /// Of the organization, with every permission that governs it.
    organization_key: crate::support::Key,
    /// Of its admin, likewise.
    personal_key: crate::support::Key,
    client: String,
    record: String,
}

const MANAGEMENT: [&str; 4] =
    ["projects:read", "api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];

async fn tenant(server: &Server, name: &str) -> Tenant {
    let admin = format!("admin-{name}");
    server.organization(name).await;
    server.user(&admin, &[]).await;
    server.member(name, &admin, &["owner"]).await;
    let organization_key = server.key_of(json!({ "type": "organization", "id": name }), &MANAGEMENT).await;
    let owner = json!({ "type": "user", "id": admin, "organization_id": name });
    let personal_key = server.key_of(owner.clone(), &MANAGEMENT).await;
    let body = json!({ "name": "a client", "owner": { "type": "organization", "id": name }, "permissions": ["projects:read"] });
    let client = server.manage("POST", "/v1/service-clients", Some(body), 201).await;
    let body = json!({
        "name": "a record", "organization_id": name,
        "principals": [{ "type": "user", "id": admin }],
        "statements": [{ "roles": ["owner"], "resources": ["/projects/*"] }],
    });
    let record = server.manage("POST", "/v1/access-records", Some(body), 201).await;
    Tenant {
        organization: name.to_owned(),
        admin,
        organization_key,
        personal_key,
        client: client["id"].as_str().unwrap().to_owned(),
        record: record["id"].as_str().unwrap().to_owned(),
    }
}

/// What stands in a path for `{…}` after `head`: the tenant's own, and one of the same kind that nobody has. Nothing for what belongs to
/// no tenant.
fn ids(head: &str, tenant: &Tenant) -> Option<(String, String)> {
    let (own, unknown) = match head {
        "api-keys" => (tenant.personal_key.id.as_str(), "key_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        "service-clients" => (tenant.client.as_str(), "svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        "access-records" => (tenant.record.as_str(), "rec_01JD8V3T6Q4Z9R7M2N5K8P1XYA"),
        "organizations" => (tenant.organization.as_str(), "nobodys"),
        "users" | "members" => (tenant.admin.as_str(), "nobody"),
        "permissions" | "roles" | "audiences" | "webhooks" | "deliveries" | "signing-keys" | "status-lists" => {
            return None;
        }
        other => panic!("/v1/{other}/{{…}}: say here whether it belongs to a tenant, and how to name one"),
    };
    Some((own.to_owned(), unknown.to_owned()))
}

/// A body that is right as far as it goes: what is wrong must be the id alone.
fn body(operation: &str) -> Option<Value> {
    let (method, path) = operation.split_once(' ').unwrap();
    match (method, path.rsplit('/').next().unwrap()) {
        ("get" | "delete", _) => None,
        ("post", "rotate") => Some(json!({ "grace": "1h" })),
        ("post", "cancel-rotation" | "suspend" | "resume" | "revoke" | "test" | "retry" | "rotate-secret") => None,
        ("patch" | "put", _) => Some(json!({})),
        _ => panic!("{operation}: say here what to send"),
    }
}

/// Who calls, inside tenant `of`.
fn callers(server: &Server, of: &Tenant, method: &Method, path: &str) -> Vec<(&'static str, RequestBuilder)> {
    let request = || server.http.request(method.clone(), server.url(path));
    let who = format!("{}; organization={}", of.admin, of.organization);
    vec![
        ("on behalf of its admin", request().bearer_auth(&server.admin).header("keyswap-on-behalf-of", who)),
        ("its admin's key", request().bearer_auth(&of.personal_key.value)),
        ("its own key", request().bearer_auth(&of.organization_key.value)),
    ]
}

async fn answer(request: RequestBuilder, body: Option<&Value>) -> (StatusCode, String) {
    let request = if let Some(body) = body { request.json(body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

both! {
    async fn what_is_another_tenants_looks_like_what_is_not_there(server: Server) {
        server.permissions_for_all(&["projects:read"]).await;
        server.role("owner", &MANAGEMENT).await;
        let (ours, theirs) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
        let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
        let mut walls = 0;
        for (template, item) in document["paths"].as_object().unwrap() {
            if !template.starts_with("/v1/") || !template.contains('{') {
                continue;
            }
            let (mut path_of_theirs, mut path_of_nobody) = (String::new(), String::new());
            let mut head = "";
            let mut of_a_tenant = false;
            for part in template.split('/').skip(1) {
                let (known, unknown) = match part.starts_with('{').then(|| ids(head, &theirs)) {
                    None => (part.to_owned(), part.to_owned()),
                    Some(None) => ("x".to_owned(), "x".to_owned()),
                    Some(Some((known, unknown))) => {
                        of_a_tenant = true;
                        (known, unknown)
                    }
                };
                path_of_theirs.push_str(&format!("/{known}"));
                path_of_nobody.push_str(&format!("/{unknown}"));
                head = part;
            }
            if !of_a_tenant {
                continue;
            }
            for name in item.as_object().unwrap().keys() {
                let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
                let body = body(&format!("{name} {template}"));
                let known = callers(&server, &ours, &method, &path_of_theirs);
                let unknown = callers(&server, &ours, &method, &path_of_nobody);
                for ((who, known), (_, unknown)) in known.into_iter().zip(unknown) {
                    let (known, unknown) = (answer(known, body.as_ref()).await, answer(unknown, body.as_ref()).await);
                    assert_eq!(known, unknown, "{name} {template} by {who}");
                    // 403: nobody inside an organization may do that, whatever it is about.
                    assert!([404, 403].contains(&known.0.as_u16()), "{name} {template} by {who}: {known:?}");
                    let governed = ["api-keys", "service-clients", "access-records"].iter().any(|head| template.starts_with(&format!("/v1/{head}/")));
                    assert!(!governed || known.0 == 404, "{name} {template} by {who}: {known:?}");
                    walls += 1;
                }
            }
        }
        assert!(walls >= 60, "only {walls} were tried");
        // And the other way round: the same calls about what is theirs are answered.
        for (_, own) in callers(&server, &theirs, &Method::GET, &format!("/v1/api-keys/{}", theirs.personal_key.id)) {
            assert_eq!(answer(own, None).await.0, 200);
        }
    }

    async fn no_list_shows_another_tenants(server: Server) {
        server.permissions_for_all(&["projects:read"]).await;
        server.role("owner", &MANAGEMENT).await;
        let (ours, theirs) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
        let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
        let secrets = [&theirs.personal_key.id, &theirs.organization_key.id, &theirs.client, &theirs.record, &theirs.admin];
        let mut lists = 0;
        for (template, item) in document["paths"].as_object().unwrap() {
            if !template.starts_with("/v1/") || template.contains('{') || item.get("get").is_none() {
                continue;
            }
            let filters = format!("?organization={}", theirs.organization);
            for path in [template.clone(), format!("{template}{filters}")] {
                for (who, request) in callers(&server, &ours, &Method::GET, &path) {
                    let (_, text) = answer(request, None).await;
                    for secret in secrets {
                        assert!(!text.contains(secret), "{path} by {who} shows {secret}");
                    }
                    lists += 1;
                }
            }
        }
        assert!(lists >= 20, "only {lists} were tried");
    }

    async fn nothing_is_made_for_another_tenant(server: Server) {
        server.permissions_for_all(&["projects:read"]).await;
        server.role("owner", &MANAGEMENT).await;
        let (ours, theirs) = (tenant(&server, "ours").await, tenant(&server, "theirs").await);
        for path in ["/v1/api-keys", "/v1/service-clients"] {
            for (known, unknown) in [
                (json!({ "type": "organization", "id": theirs.organization }), json!({ "type": "organization", "id": "nobodys" })),
                (
                    json!({ "type": "user", "id": theirs.admin, "organization_id": theirs.organization }),
                    json!({ "type": "user", "id": "nobody", "organization_id": "nobodys" }),
                ),
                (json!({ "type": "user", "id": theirs.admin }), json!({ "type": "user", "id": "nobody" })),
            ] {
                let body = |owner: &Value| json!({ "name": "a", "owner": owner, "permissions": ["projects:read"] });
                let requests = || callers(&server, &ours, &Method::POST, path).into_iter();
                for ((who, first), (_, second)) in requests().zip(requests()) {
                    let (first, second) = (answer(first, Some(&body(&known))).await, answer(second, Some(&body(&unknown))).await);
                    assert_eq!(first, second, "{path} by {who}");
                    assert_eq!(first.0, 422, "{path} by {who}: {first:?}");
                }
            }
        }
    }
}
