//! Tenant isolation: the responses for an object of another organization and for an object that
//! does not exist are identical, byte by byte. The tests are generated from the OpenAPI
//! document, so that a new endpoint cannot be missed. Each check has a control: the same request
//! by the owner succeeds.

mod tenants;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, both};
use tenants::{CallerKind, Tenant, target, two_tenants};

/// Paths that only callers outside every tenant may use, for any object. A refusal there does not
/// demonstrate isolation.
const CLOSED: [&str; 3] = ["/v1/organizations/", "/v1/users/", "/v1/portal-sessions/"];

/// A valid body, so that only the id can be wrong.
fn body(operation: &str) -> Option<Value> {
    let (method, path) = operation.split_once(' ').unwrap();
    match (method, path.rsplit('/').next().unwrap()) {
        ("get" | "delete", _) => None,
        ("post", "rotate") => Some(json!({ "grace": "1h" })),
        (
            "post",
            "cancel-rotation" | "suspend" | "resume" | "revoke" | "lock" | "unlock" | "test" | "retry"
            | "rotate-secret",
        ) => None,
        ("patch" | "put", _) => Some(json!({})),
        _ => panic!("{operation}: say here what to send"),
    }
}

async fn answer(request: RequestBuilder, body: Option<&Value>) -> (StatusCode, String) {
    let request = if let Some(body) = body { request.json(body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// The operations below `/v1` in the document, with or without an id in the path.
async fn operations(server: &Server, with_id: bool) -> Vec<(Method, String)> {
    let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut all = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        if template.starts_with("/v1/") && template.contains('{') == with_id {
            let methods = item.as_object().unwrap().keys();
            all.extend(methods.map(|name| (name.to_uppercase().parse().unwrap(), template.clone())));
        }
    }
    all
}

both! {
    async fn objects_of_another_tenant_are_indistinguishable_from_missing_ones(server: Server) {
        let [ours, theirs] = two_tenants(&server).await;
        let (mut hidden, mut closed) = (0, 0);
        for (method, template) in operations(&server, true).await {
            let operation = format!("{} {template}", method.as_str().to_lowercase());
            let is_closed = CLOSED.iter().any(|head| template.starts_with(head));
            for who in CallerKind::ALL {
                let Some(target) = target(&server, &template, &theirs, who).await else { break };
                let body = body(&operation);
                let known = answer(who.request(&server, &ours, &method, &target.known), body.as_ref()).await;
                let unknown = answer(who.request(&server, &ours, &method, &target.unknown), body.as_ref()).await;
                assert_eq!(known, unknown, "{operation} by {who:?}");
                let (refusal, control) = if is_closed {
                    closed += 1;
                    let request = server.http.request(method.clone(), server.url(&target.known));
                    (StatusCode::FORBIDDEN, request.bearer_auth(&server.admin))
                } else if !who.may_change_records() && [Method::PATCH, Method::DELETE].contains(&method)
                    && template.starts_with("/v1/access-records/") {
                    // The owner's key gets a refusal with its reason and is no control.
                    let own = answer(who.request(&server, &theirs, &method, &target.known), body.as_ref()).await;
                    assert_eq!(own.0, StatusCode::FORBIDDEN, "{operation} by {who:?}: {own:?}");
                    (StatusCode::NOT_FOUND, CallerKind::OnBehalf.request(&server, &theirs, &method, &target.known))
                } else {
                    hidden += 1;
                    (StatusCode::NOT_FOUND, who.request(&server, &theirs, &method, &target.known))
                };
                assert_eq!(known.0, refusal, "{operation} by {who:?}: {known:?}");
                let own = answer(control, body.as_ref()).await;
                assert!(own.0.is_success(), "{operation} by {who:?} is refused to its owner as well: {own:?}");
            }
        }
        // Keys have nine operations and service clients three, each for six callers. Access records
        // have three, two of them for the callers that are users.
        assert!(hidden >= 82 && closed >= 66, "only {hidden} hidden and {closed} closed operations were tried");
    }

    async fn lists_contain_no_objects_of_another_tenant(server: Server) {
        let [ours, theirs] = two_tenants(&server).await;
        let secrets = [&theirs.personal_key.id, &theirs.organization_key.id, &theirs.client, &theirs.record, &theirs.admin];
        for (method, path) in operations(&server, false).await {
            if method != Method::GET {
                continue;
            }
            for who in CallerKind::ALL {
                for filter in ["", "?organization=theirs"] {
                    let (_, text) = answer(who.request(&server, &ours, &Method::GET, &format!("{path}{filter}")), None).await;
                    let shown = secrets.iter().find(|secret| text.contains(secret.as_str()));
                    assert!(shown.is_none(), "{path}{filter} by {who:?} shows {shown:?}");
                }
                // The tenant's own callers see these objects, where they may call.
                let own = answer(who.request(&server, &theirs, &Method::GET, &path), None).await;
                let wanted: &[&String] = match path.as_str() {
                    "/v1/api-keys" => &[&theirs.personal_key.id, &theirs.organization_key.id],
                    "/v1/service-clients" => &[&theirs.client],
                    "/v1/access-records" => &[&theirs.record],
                    "/v1/portal-sessions/current" if who == CallerKind::Session => &[&theirs.admin],
                    // Lists of tenants' objects that only callers outside every tenant may read.
                    "/v1/organizations" | "/v1/users" | "/v1/portal-sessions" | "/v1/events" => {
                        assert_eq!(own.0, StatusCode::FORBIDDEN, "{path} by {who:?}: {own:?}");
                        let all = server.get(&format!("{path}?limit=100")).bearer_auth(&server.admin);
                        let all = answer(all, None).await.1;
                        assert!(all.contains(&theirs.organization) || all.contains(&theirs.admin), "{path}: {all}");
                        continue;
                    }
                    // Objects that belong to no tenant, and information about the caller.
                    "/v1/audiences" | "/v1/branding" | "/v1/caller" | "/v1/overview" | "/v1/permissions"
                    | "/v1/portal-sessions/current" | "/v1/roles" | "/v1/signing-keys" | "/v1/status-lists" | "/v1/webhooks" => {
                        continue;
                    }
                    _ => panic!("GET {path}: say here what of a tenant's it shows"),
                };
                assert_eq!(own.0, StatusCode::OK, "{path} by {who:?}: {own:?}");
                for secret in wanted {
                    assert!(own.1.contains(secret.as_str()), "{path} by {who:?} shows its owner no {secret}: {}", own.1);
                }
            }
        }
    }

    async fn nothing_can_be_created_for_another_tenant(server: Server) {
        let [ours, theirs] = two_tenants(&server).await;
        // A key to which an access record applies creates record-bound keys only.
        server.manage("DELETE", &format!("/v1/access-records/{}", theirs.record), None, 204).await;
        for (method, path) in operations(&server, false).await {
            match (&method, path.as_str()) {
                (&Method::POST, "/v1/api-keys" | "/v1/service-clients") => {}
                (&Method::GET | &Method::PUT, _)
                // Operations on a credential or a principal, and operations closed to tenants.
                // `access_records::rights` covers access records.
                | (_, "/v1/exchange" | "/v1/exchange/explain" | "/v1/api-keys/validate" | "/v1/access/check" | "/v1/access-records"
                    | "/v1/import" | "/v1/audiences" | "/v1/portal-sessions" | "/v1/signing-keys" | "/v1/signing-keys/rotate" | "/v1/webhooks") => continue,
                _ => panic!("{method} {path}: say here whether it makes something for a tenant"),
            }
            let of_organization = |id: &str| json!({ "type": "organization", "id": id });
            let of_member = |user: &str, id: &str| json!({ "type": "user", "id": user, "organization_id": id });
            for (known, unknown, is_organizations) in [
                (of_organization(&theirs.organization), of_organization("absents"), true),
                (of_member(&theirs.admin, &theirs.organization), of_member("absent", "absents"), false),
                (json!({ "type": "user", "id": theirs.admin }), json!({ "type": "user", "id": "absent" }), false),
            ] {
                let body = |owner: &Value| Some(json!({ "name": "a", "owner": owner, "permissions": ["projects:read"] }));
                for who in CallerKind::ALL {
                    let create = async |by: &Tenant, owner: &Value| {
                        answer(who.request(&server, by, &method, &path), body(owner).as_ref()).await
                    };
                    let (first, second) = (create(&ours, &known).await, create(&ours, &unknown).await);
                    assert_eq!(first, second, "{path} by {who:?}");
                    assert_eq!(first.0, 422, "{path} by {who:?}: {first:?}");
                    if who.is_organization() == is_organizations {
                        let own = create(&theirs, &known).await;
                        assert_eq!(own.0, 201, "{path} by {who:?} for {known} is refused to its owner as well: {own:?}");
                    }
                }
            }
        }
    }
}
