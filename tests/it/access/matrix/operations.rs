//! Who may call each operation. The operations are those of the OpenAPI document, the permissions
//! those of the policy table.

use keyswap::domain::access::policy::TABLE;
use reqwest::Method;
use serde_json::{Value, json};

use super::callers::Owner;

/// The kind of an object that has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ApiKey,
    ServiceClient,
    AccessRecord,
}

/// What an operation does with objects that have owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Shows those that the caller may read.
    List,
    /// Creates one for the owner that the body names.
    Create,
    Read,
    Change,
    /// Suspends, revokes or deletes one.
    End,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anyone: a credential in the header makes no difference.
    Anyone,
    /// Every API key, and nothing else.
    AnyKey,
    /// Every API key and every management token.
    AnyClient,
    /// Callers that may perform the action of the policy table. They get this status.
    Action(&'static str, u16),
    /// Callers that may perform the action and have the right on the object.
    Object(Kind, Right),
}
use Kind::{AccessRecord, ApiKey, ServiceClient};
use Right::{Change, Create, End, List, Read};
use Rule::{Action, AnyClient, AnyKey, Anyone, Object};

impl Kind {
    const fn action(self) -> &'static str {
        match self {
            ApiKey => "manage API keys",
            ServiceClient => "manage service clients",
            AccessRecord => "manage access records",
        }
    }
}

/// Paths whose operations are public or take their credential from the body.
const PUBLIC: &[&str] = &[
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource/v1",
    "/.well-known/openid-configuration",
    "/assets/{hash}/{folder}/{file}",
    "/console",
    "/console/sign-in",
    "/console/sign-out",
    "/docs",
    "/docs/{file}",
    "/healthz",
    "/identity/token",
    "/oauth/token",
    "/openapi.json",
    "/portal/organization-keys",
    "/portal/sign-in",
    "/portal/sign-out",
    "/portal/user-keys",
    "/readyz",
    "/v1/status-lists",
    "/v1/status-lists/{id}",
    "/widget/v1.js",
];

/// All other operations. 412 is the answer to a version that no object has.
const RULES: &[(&str, Rule)] = &[
    ("GET /metrics", Action("read metrics", 200)),
    ("POST /oauth/introspect", Action("validate API keys and tokens", 200)),
    ("POST /oauth/revoke", AnyClient),
    ("POST /v1/exchange", AnyKey),
    ("POST /v1/exchange/explain", AnyKey),
    ("GET /v1/api-keys", Object(ApiKey, List)),
    ("POST /v1/api-keys", Object(ApiKey, Create)),
    ("GET /v1/api-keys/{id}", Object(ApiKey, Read)),
    ("PATCH /v1/api-keys/{id}", Object(ApiKey, Change)),
    ("DELETE /v1/api-keys/{id}", Object(ApiKey, End)),
    ("POST /v1/api-keys/{id}/rotate", Object(ApiKey, Change)),
    ("POST /v1/api-keys/{id}/cancel-rotation", Object(ApiKey, Change)),
    ("POST /v1/api-keys/{id}/suspend", Object(ApiKey, End)),
    ("POST /v1/api-keys/{id}/resume", Object(ApiKey, Change)),
    ("POST /v1/api-keys/{id}/revoke", Object(ApiKey, End)),
    ("GET /v1/api-keys/{id}/usage", Object(ApiKey, Read)),
    ("GET /v1/service-clients", Object(ServiceClient, List)),
    ("POST /v1/service-clients", Object(ServiceClient, Create)),
    ("GET /v1/service-clients/{id}", Object(ServiceClient, Read)),
    ("PATCH /v1/service-clients/{id}", Object(ServiceClient, Change)),
    ("DELETE /v1/service-clients/{id}", Object(ServiceClient, End)),
    ("GET /v1/access-records", Object(AccessRecord, List)),
    ("POST /v1/access-records", Object(AccessRecord, Create)),
    ("GET /v1/access-records/{id}", Object(AccessRecord, Read)),
    ("PATCH /v1/access-records/{id}", Object(AccessRecord, Change)),
    ("DELETE /v1/access-records/{id}", Object(AccessRecord, End)),
    ("POST /v1/access/check", Action("validate API keys and tokens", 200)),
    ("POST /v1/api-keys/validate", Action("validate API keys and tokens", 200)),
    ("GET /v1/audiences", Action("manage audiences", 200)),
    ("POST /v1/audiences", Action("manage audiences", 201)),
    ("GET /v1/audiences/{id}", Action("manage audiences", 200)),
    ("PATCH /v1/audiences/{id}", Action("manage audiences", 412)),
    ("DELETE /v1/audiences/{id}", Action("manage audiences", 412)),
    ("GET /v1/branding", Anyone),
    ("PUT /v1/branding", Action("manage the branding", 412)),
    ("GET /v1/caller", Action("know who calls", 200)),
    ("GET /v1/events", Action("read events", 200)),
    ("POST /v1/import", Action("manage the directory", 200)),
    ("GET /v1/organizations", Action("manage the directory", 200)),
    ("GET /v1/organizations/{id}", Action("manage the directory", 200)),
    ("PUT /v1/organizations/{id}", Action("manage the directory", 412)),
    ("PATCH /v1/organizations/{id}", Action("manage the directory", 412)),
    ("DELETE /v1/organizations/{id}", Action("manage the directory", 412)),
    ("GET /v1/organizations/{id}/members", Action("manage the directory", 200)),
    ("GET /v1/organizations/{id}/members/{user}", Action("manage the directory", 200)),
    ("PUT /v1/organizations/{id}/members/{user}", Action("manage the directory", 412)),
    ("PATCH /v1/organizations/{id}/members/{user}", Action("manage the directory", 412)),
    ("DELETE /v1/organizations/{id}/members/{user}", Action("manage the directory", 412)),
    ("GET /v1/overview", Action("read the overview", 200)),
    ("GET /v1/permissions", Action("read permissions", 200)),
    ("GET /v1/permissions/{name}", Action("read permissions", 200)),
    ("PUT /v1/permissions/{name}", Action("manage permissions", 412)),
    ("DELETE /v1/permissions/{name}", Action("manage permissions", 412)),
    ("GET /v1/portal-sessions", Action("manage portal sessions", 200)),
    ("POST /v1/portal-sessions", Action("manage portal sessions", 201)),
    ("DELETE /v1/portal-sessions", Action("manage portal sessions", 412)),
    ("GET /v1/portal-sessions/current", Action("manage API keys", 200)),
    ("DELETE /v1/portal-sessions/{id}", Action("manage portal sessions", 412)),
    ("GET /v1/roles", Action("read roles", 200)),
    ("GET /v1/roles/{name}", Action("read roles", 200)),
    ("PUT /v1/roles/{name}", Action("manage roles", 412)),
    ("DELETE /v1/roles/{name}", Action("manage roles", 412)),
    ("GET /v1/signing-keys", Action("manage signing keys", 200)),
    ("POST /v1/signing-keys", Action("import signing keys", 422)),
    ("POST /v1/signing-keys/rotate", Action("manage signing keys", 409)),
    ("POST /v1/signing-keys/{kid}/revoke", Action("manage signing keys", 200)),
    ("GET /v1/users", Action("manage the directory", 200)),
    ("GET /v1/users/{id}", Action("manage the directory", 200)),
    ("PUT /v1/users/{id}", Action("manage the directory", 412)),
    ("PATCH /v1/users/{id}", Action("manage the directory", 412)),
    ("DELETE /v1/users/{id}", Action("manage the directory", 412)),
    ("POST /v1/users/{id}/lock", Action("lock users", 412)),
    ("POST /v1/users/{id}/unlock", Action("unlock users", 412)),
    ("GET /v1/webhooks", Action("manage webhooks", 200)),
    ("POST /v1/webhooks", Action("manage webhooks", 201)),
    ("GET /v1/webhooks/{id}", Action("manage webhooks", 200)),
    ("PATCH /v1/webhooks/{id}", Action("manage webhooks", 412)),
    ("DELETE /v1/webhooks/{id}", Action("manage webhooks", 412)),
    ("GET /v1/webhooks/{id}/deliveries", Action("manage webhooks", 200)),
    ("POST /v1/webhooks/{id}/deliveries/{delivery}/retry", Action("manage webhooks", 200)),
    ("POST /v1/webhooks/{id}/rotate-secret", Action("manage webhooks", 412)),
    ("POST /v1/webhooks/{id}/test", Action("manage webhooks", 200)),
];

/// An operation of the document.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    pub template: String,
    /// Method and path template.
    pub name: String,
    pub rule: Rule,
    /// Whether it accepts `If-Match`.
    pub is_conditional: bool,
}

impl Operation {
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    pub fn speaks_oauth(&self) -> bool {
        self.template.starts_with("/oauth/") || self.template == "/identity/token"
    }

    /// The permissions that the policy table requires. `None` for operations without an action.
    pub fn permissions(&self) -> Option<&'static [&'static str]> {
        let name = match self.rule {
            Anyone | AnyKey | AnyClient => return None,
            Action(name, _) => name,
            Object(kind, _) => kind.action(),
        };
        let (_, permissions) = TABLE.iter().find(|(action, _)| *action == name).unwrap();
        Some(permissions)
    }

    /// Whether the operation names an organization, a user or a session of the tenant.
    pub fn names_tenant(&self) -> bool {
        let is_below = |head: &&str| self.template.starts_with(*head);
        ["/v1/organizations/{", "/v1/users/{", "/v1/portal-sessions/{"].iter().any(is_below)
            || self.name == "POST /v1/portal-sessions"
    }

    /// The owners whose objects the operation is tried on.
    pub fn accepts(&self, target: Owner) -> bool {
        match self.rule {
            Anyone | AnyKey | AnyClient | Object(_, List) => target == super::callers::OURS,
            Action(..) => target == super::callers::OURS || target == super::callers::THEIRS && self.names_tenant(),
            // A record of no organization cannot be requested inside one.
            Object(AccessRecord, Create) => target.organization.is_some(),
            Object(..) => true,
        }
    }
}

/// The operations of the document. Each has a rule, each rule has an operation, and the document
/// states the permissions of the policy table. Reads come first, because other operations create
/// objects, and access records last, because they restrict the keys of their callers.
pub fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let name = format!("{method} {template}");
            let rule = if PUBLIC.contains(&template.as_str()) {
                Some(Anyone)
            } else {
                RULES.iter().find(|(known, _)| *known == name).map(|(_, rule)| *rule)
            };
            let rule = rule.unwrap_or_else(|| panic!("{name}: say in RULES who may call it"));
            let parameters = described["parameters"].as_array();
            let is_conditional = parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "If-Match"));
            let operation = Operation { method, template: template.clone(), name, rule, is_conditional };
            let stated = described.get("x-keyswap-permissions");
            assert_eq!(stated, operation.permissions().map(|all| json!(all)).as_ref(), "{}", operation.name);
            all.push(operation);
        }
    }
    for (name, _) in RULES {
        assert!(all.iter().any(|operation| operation.name == *name), "{name}: the document has no such operation");
    }
    all.sort_by_key(|operation| (!operation.is_read(), operation.name == "POST /v1/access-records"));
    all
}
