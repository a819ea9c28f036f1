//! For each operation, a request that succeeds, on an object that is created for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::Operation;
use crate::{
    access::trust::private_key,
    support::{Server, calls::plain_key, wire},
};

/// The body of a request.
pub enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
    Lines(&'static str),
}

/// A request for an operation that succeeds.
pub struct Subject {
    pub operation: Operation,
    pub path: String,
    pub body: Body,
    /// The path of the object that the operation reads or changes, if it has one.
    pub object: Option<String>,
    credential: String,
}

/// A new name.
fn fresh(of: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{of}-{}", COUNT.fetch_add(1, Ordering::SeqCst))
}

impl Subject {
    /// Creates the object of the operation, and whatever else it needs.
    pub async fn new(server: &Server, operation: &Operation) -> Self {
        let template = operation.template.as_str();
        let object = object(server, template).await;
        let path = match (&object, template.split_once("/{")) {
            (Some(object), Some((_, rest))) => {
                let step = rest.split_once('}').map_or("", |(_, step)| step);
                // Members are the one kind whose path has two ids.
                let step = if template.ends_with("/{user}") { "" } else { step };
                let delivery = if step.contains("{delivery}") { delivery(server, object).await } else { String::new() };
                format!("{object}{}", step.replace("{delivery}", &delivery))
            }
            _ => singleton(server, operation).await,
        };
        let mut credential = server.admin.clone();
        if operation.name.starts_with("POST /v1/exchange") || operation.name == "GET /v1/portal-sessions/current" {
            credential = session_or_key(server, template).await;
        }
        prepare(server, operation, object.as_deref()).await;
        let body = body(server, operation).await;
        let object = object.filter(|_| template.starts_with("/v1/")).or_else(|| branding(template));
        Self { operation: operation.clone(), path, body, object, credential }
    }

    /// The same request for an object that does not exist, and the path of that object.
    pub fn of_absent(mut self) -> Self {
        let object = self.object.take().unwrap();
        let (head, id) = object.rsplit_once('/').unwrap();
        // The last characters of an id are random.
        let absent = if id.len() > 20 { format!("{}ZZZZ", &id[..id.len() - 4]) } else { fresh("absent") };
        let absent = match self.operation.template.as_str() {
            // A member is absent, and its user is not.
            "/v1/organizations/{id}/members/{user}" => {
                format!("{}x/members/{id}", head.strip_suffix("/members").unwrap())
            }
            _ => format!("{head}/{absent}"),
        };
        self.path = self.path.replacen(&object, &absent, 1);
        Self { object: Some(absent), ..self }
    }

    pub fn request(&self, server: &Server) -> RequestBuilder {
        self.request_by(server, self.operation.method.clone())
    }

    pub fn request_by(&self, server: &Server, method: reqwest::Method) -> RequestBuilder {
        let request = self.without_body(server, method);
        match &self.body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Form(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
                wire::form(request, &pairs)
            }
            Body::Lines(lines) => request.header("content-type", "application/x-ndjson").body(*lines),
        }
    }

    /// The request with this body instead of its own.
    pub fn request_with(&self, server: &Server, media_type: &str, body: String) -> RequestBuilder {
        self.without_body(server, self.operation.method.clone()).header("content-type", media_type).body(body)
    }

    fn without_body(&self, server: &Server, method: reqwest::Method) -> RequestBuilder {
        let request = server.http.request(method, server.url(&self.path));
        match self.operation.template.split('/').nth(1).unwrap() {
            "portal" => request.header("keyswap-page", "1"),
            "console" => request.header("keyswap-page", "console"),
            "identity" => request,
            _ if self.operation.template == "/oauth/token" => request,
            _ => request.bearer_auth(&self.credential),
        }
    }
}

/// Creates the object in the path of an operation and returns its path.
async fn object(server: &Server, template: &str) -> Option<String> {
    let (collection, rest) = template.split_once("/{")?;
    let name = fresh("object");
    let path = format!("{collection}/{name}");
    Some(match collection {
        "/v1/organizations" => {
            server.organization(&name).await;
            if rest.contains("members") {
                server.organization(&format!("{name}x")).await;
                server.user(&name, &[]).await;
                server.member(&name, &name, &[]).await;
            }
            if rest.ends_with("{user}") { format!("{path}/members/{name}") } else { path }
        }
        "/v1/users" => {
            server.user(&name, &[]).await;
            path
        }
        "/v1/roles" => {
            server.role(&name, &[]).await;
            path
        }
        "/v1/permissions" => {
            server.permissions(&[&name]).await;
            path
        }
        "/v1/signing-keys" => format!("{collection}/{}", next_signing_key(server).await),
        "/v1/status-lists" | "/assets" | "/docs" => return None,
        _ => {
            let body = new_object(server, collection).await;
            let made = server.manage("POST", collection, Some(body), 201).await;
            format!("{collection}/{}", made["id"].as_str().unwrap())
        }
    })
}

/// The body of a request that creates an object of a collection.
async fn new_object(server: &Server, collection: &str) -> Value {
    let name = fresh("new");
    match collection {
        "/v1/api-keys" => plain_key(&name),
        "/v1/service-clients" => json!({ "name": name, "api_key": { "name": name } }),
        "/v1/audiences" => json!({ "identifier": format!("https://{name}.test") }),
        "/v1/webhooks" => json!({ "url": format!("http://127.0.0.1:65535/{name}") }),
        "/v1/access-records" => {
            server.user(&name, &[]).await;
            server.role("nothing", &[]).await;
            let statements = json!([{ "roles": ["nothing"], "resources": ["/a/*"] }]);
            json!({ "name": name, "principals": [{ "type": "user", "id": name }], "statements": statements })
        }
        "/v1/portal-sessions" => {
            server.user(&name, &[]).await;
            json!({ "user_id": name })
        }
        other => panic!("{other}: say here how to create one"),
    }
}

/// The path of an operation whose object every deployment has.
async fn singleton(server: &Server, operation: &Operation) -> String {
    match operation.name.as_str() {
        // Without a filter it is refused.
        "DELETE /v1/portal-sessions" => "/v1/portal-sessions?user=absent".to_owned(),
        "GET /docs/{file}" => "/docs/start.js".to_owned(),
        "GET /assets/{hash}/{folder}/{file}" => {
            let page = server.get("/console").send().await.unwrap().text().await.unwrap();
            let asset = page.split('"').find(|part| part.contains("assets/")).unwrap();
            format!("/{}", asset.trim_start_matches(['.', '/']))
        }
        "GET /v1/status-lists/{id}" => {
            let key = server.generic_key(&[]).await;
            let list = crate::status_lists::uri_of(&server.fetch_token(&key.value).await);
            server.run_jobs().await;
            list.strip_prefix("http://keyswap.test").unwrap().to_owned()
        }
        _ => operation.template.clone(),
    }
}

/// Singletons that can be changed are objects as well.
fn branding(template: &str) -> Option<String> {
    (template == "/v1/branding").then(|| template.to_owned())
}

/// Brings the object into the state that the operation requires.
async fn prepare(server: &Server, operation: &Operation, object: Option<&str>) {
    let step = |step: &str| format!("{}/{step}", object.unwrap_or_default());
    match operation.template.as_str() {
        "/v1/api-keys/{id}/cancel-rotation" => drop(server.manage("POST", &step("rotate"), None, 200).await),
        "/v1/api-keys/{id}/resume" => drop(server.manage("POST", &step("suspend"), None, 200).await),
        "/v1/users/{id}/unlock" => drop(server.manage("POST", &step("lock"), None, 200).await),
        // The next key may sign only after every verifier can have it.
        "/v1/signing-keys/rotate" => server.advance(3661),
        _ => {}
    }
}

async fn session_or_key(server: &Server, template: &str) -> String {
    if template.starts_with("/v1/exchange") {
        return server.generic_key(&[]).await.value;
    }
    server.offer_management_permissions().await;
    server.role("self", &["user-api-keys:manage-self"]).await;
    let user = fresh("user");
    server.user(&user, &["self"]).await;
    let opened = server.manage("POST", "/v1/portal-sessions", Some(json!({ "user_id": user })), 201).await;
    opened["token"].as_str().unwrap().to_owned()
}

/// A body with which the operation succeeds and changes the object, if it changes one.
async fn body(server: &Server, operation: &Operation) -> Body {
    let (method, template) = (operation.method.as_str(), operation.template.as_str());
    Body::Json(match (method, template) {
        ("POST", "/oauth/token") => return Body::Form(client_credentials(server).await),
        ("POST", "/identity/token") => {
            let apikey = server.generic_key(&[]).await.value;
            return Body::Form(vec![("grant_type", wire::IBM.to_owned()), ("apikey", apikey)]);
        }
        ("POST", "/oauth/introspect" | "/oauth/revoke") => return Body::Form(vec![("token", wire::unknown())]),
        ("POST", "/v1/import") => return Body::Lines("{\"type\":\"organization\",\"id\":\"imported\"}\n"),
        ("POST", "/v1/api-keys/validate") => json!({ "value": wire::unknown() }),
        ("POST", "/v1/access/check") => {
            server.permissions(&["checked"]).await;
            let principal = json!({ "type": "api_key", "id": server.generic_key(&[]).await.id });
            json!({ "principal": principal, "permission": "checked", "resource": "/a/1" })
        }
        ("POST", "/v1/signing-keys") => json!({ "key": private_key() }),
        ("POST", "/console/sign-in") => json!({ "key": server.admin }),
        ("POST", "/portal/sign-in") => {
            let body = new_object(server, "/v1/portal-sessions").await;
            let opened = server.manage("POST", "/v1/portal-sessions", Some(body), 201).await;
            json!({ "code": opened["url"].as_str().unwrap().split_once("#code=").unwrap().1 })
        }
        ("POST", _) if operation.described["responses"].get("201").is_some() => new_object(server, template).await,
        ("PUT", "/v1/permissions/{name}") => json!({ "assignable_to": ["user"] }),
        ("PUT", "/v1/roles/{name}") => json!({ "permissions": [], "description": fresh("changed") }),
        ("PUT", "/v1/branding") => json!({ "name": fresh("changed") }),
        ("PATCH", "/v1/audiences/{id}") => json!({ "token_ttl": "7m" }),
        ("PATCH", "/v1/webhooks/{id}") => json!({ "description": fresh("changed") }),
        ("PUT" | "PATCH", _) if template.starts_with("/v1/organizations/") || template.starts_with("/v1/users/") => {
            json!({ "metadata": { "changed": fresh("to") } })
        }
        ("PATCH", _) => json!({ "name": fresh("changed") }),
        _ => return Body::None,
    })
}

async fn client_credentials(server: &Server) -> Vec<(&'static str, String)> {
    let key = server.generic_key(&[]).await.value;
    let (name, value) = wire::CLIENT_CREDENTIALS;
    vec![(name, value.to_owned()), ("client_id", wire::client_id(&key)), ("client_secret", key)]
}

/// A key that has signed nothing, so that its revocation invalidates no token.
async fn next_signing_key(server: &Server) -> String {
    let all = server.manage("GET", "/v1/signing-keys", None, 200).await;
    let next = all["data"].as_array().unwrap().iter().find(|key| key["state"] == "next").unwrap().clone();
    next["kid"].as_str().unwrap().to_owned()
}

/// A delivery of a webhook, after an event that was sent to it.
async fn delivery(server: &Server, webhook: &str) -> String {
    server.organization(&fresh("event")).await;
    server.deliver().await;
    let log = server.manage("GET", &format!("{webhook}/deliveries"), None, 200).await;
    log["data"][0]["id"].as_str().unwrap().to_owned()
}
