//! A Keyswap server in this process, on SQLite, with an object of each kind.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use keyswap::{
    app::{
        jobs::Jobs,
        startup::{self, StartMode},
    },
    config::Settings,
    http::server,
    store::SystemClock,
};
use serde_json::{Value, json};

use crate::{
    check::check,
    connection::{Connection, Request, Response},
};

const SETTINGS: [&str; 13] = [
    "keys.create=true",
    "server.bind=127.0.0.1:0",
    "server.public_url=http://keyswap.test",
    "server.trusted_proxies=[\"127.0.0.0/8\"]",
    // Budgets that no run uses up.
    "brute_force.per_source=1000000",
    "brute_force.per_credential=1000000",
    "brute_force.refill=1ms",
    "access_records.user_resources=[\"/users/{user}/*\", \"/organizations/{organization}/*\"]",
    "api_keys.imported=true",
    "api_keys.accepted_prefixes=[\"old_app\"]",
    "portal.allowed_origins=[\"https://app.example.com\"]",
    // A machine that does other work may stall for seconds.
    "database.connect_timeout=20s",
    "database.statement_timeout=20s",
    "database.lease=30s",
];

pub struct Server {
    pub address: SocketAddr,
    /// Names in an input, such as `{key}`, and the values of this deployment that replace them. A
    /// corpus contains no secrets, and its inputs are valid at every start.
    placeholders: Vec<(&'static str, String)>,
    /// The administrator's API key.
    pub admin: String,
    connection: Connection,
}

/// The server of all targets but one, started when it is first used.
pub fn server() -> MutexGuard<'static, Server> {
    static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| Mutex::new(Server::start("x-forwarded-for")));
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server whose proxies send `Forwarded`.
pub fn server_of_forwarded() -> MutexGuard<'static, Server> {
    static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| Mutex::new(Server::start("forwarded")));
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    fn start(forwarded_header: &str) -> Self {
        // scripts/fuzz empties the directory of temporary files afterwards.
        let dir = tempfile::tempdir().unwrap().keep();
        let path = |name: &str| dir.join(name).display().to_string();
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).to_vec();
        settings.push(format!("server.forwarded_header={forwarded_header}"));
        settings.push(format!("database.url=sqlite://{}", path("keyswap.db")));
        settings.push(format!("keys.dir={}", path("keys")));
        let (started, address) = mpsc::channel();
        thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let settings = Settings::load(None, &settings).unwrap();
                let bound = server::bind(&settings.server).unwrap();
                let address = bound.address;
                let mut services = startup::start(settings, StartMode::Serve, Arc::new(SystemClock)).await.unwrap();
                // Refusals would wait for milliseconds.
                services.refusal_deadline = Duration::ZERO;
                let services = Arc::new(services);
                let servers = server::serve(bound, Arc::clone(&services)).unwrap();
                let _jobs = Jobs::start(&services);
                started.send(address).unwrap();
                servers.run().await.unwrap();
            });
        });
        let address = address.recv().expect("the server did not start: see above");
        let admin = std::fs::read_to_string(dir.join("keys/administrator.key")).unwrap().trim().to_owned();
        let mut server = Self { address, placeholders: Vec::new(), admin, connection: Connection::new(address) };
        server.create_objects();
        server
    }

    fn create_objects(&mut self) {
        let all = json!({ "assignable_to": ["user", "organization", "service_client"] });
        for name in ["docs:read", "docs:write", "api-keys:manage", "user-api-keys:manage-self"] {
            self.manage("PUT", &format!("/v1/permissions/{name}"), &all);
        }
        let permissions = json!(["docs:read", "docs:write"]);
        self.manage("PUT", "/v1/roles/editor", &json!({ "permissions": permissions }));
        let manager = json!({ "permissions": ["docs:read", "api-keys:manage", "user-api-keys:manage-self"] });
        self.manage("PUT", "/v1/roles/manager", &manager);
        self.manage("PUT", "/v1/organizations/acme", &json!({ "name": "Acme", "metadata": { "plan": "pro" } }));
        for user in ["alice", "bob"] {
            self.manage("PUT", &format!("/v1/users/{user}"), &json!({ "roles": ["manager"] }));
            self.manage("PUT", &format!("/v1/organizations/acme/members/{user}"), &json!({ "roles": ["manager"] }));
        }
        let audience = json!({
            "identifier": "https://api.example", "permissions": permissions, "token_ttl": "10m",
            "claims": { "plan": "organization.metadata.plan" },
        });
        self.manage("POST", "/v1/audiences", &audience);
        let client = json!({ "name": "client", "permissions": permissions });
        let client = self.create("/v1/service-clients", &client, "id");
        let patched_client = self.create("/v1/service-clients", &json!({ "name": "patched" }), "id");
        let patched_audience = json!({ "identifier": "https://patched.example" });
        let patched_audience = self.create("/v1/audiences", &patched_audience, "id");
        let owner = json!({ "type": "service_client", "id": client });
        let key = json!({ "name": "key", "owner": owner, "permissions": permissions });
        let created = self.manage("POST", "/v1/api-keys", &key);
        let (key, key_id) = (text(&created, "value"), text(&created, "id"));
        let mut unused_keys = Vec::new();
        for name in ["patched", "rotated", "revoked"] {
            unused_keys.push(self.create("/v1/api-keys", &json!({ "name": name, "owner": { "type": "none" } }), "id"));
        }
        let statements = json!([{ "roles": ["editor"], "resources": ["/docs/*"] }]);
        let principals = json!([{ "type": "user", "id": "alice" }]);
        let record = json!({ "name": "record", "principals": principals, "statements": statements });
        let record = self.create("/v1/access-records", &record, "id");
        let webhook = self.create("/v1/webhooks", &json!({ "url": "https://hooks.example/keyswap" }), "id");
        let session = json!({ "user_id": "alice", "organization_id": "acme" });
        let session = self.create("/v1/portal-sessions", &session, "token");
        let token = self.exchange(&key, "https://api.example");
        let revoked_token = self.exchange(&key, "https://api.example");
        let admin = self.admin.clone();
        let management_token = self.exchange(&admin, "http://keyswap.test/v1");
        let tag = self.send(&Request::new("GET", "/v1/organizations/acme").bearer(&admin)).header("etag").to_owned();
        let client_id = |key: &str| key.rsplit_once('_').map_or("", |(id, _)| id).to_owned();
        let basic = |key: &str| BASE64_STANDARD.encode(format!("{}:{key}", client_id(key)));
        self.placeholders = vec![
            ("{admin_basic}", basic(&admin)),
            ("{admin}", admin),
            ("{basic}", basic(&key)),
            ("{client_id}", client_id(&key)),
            ("{key_id}", key_id),
            ("{key}", key),
            ("{management_token}", management_token),
            ("{patched_audience}", patched_audience),
            ("{patched_client}", patched_client),
            ("{patched_key}", unused_keys[0].clone()),
            ("{record}", record),
            ("{revoked_token}", revoked_token),
            ("{revoked_key}", unused_keys[2].clone()),
            ("{rotated_key}", unused_keys[1].clone()),
            ("{session}", session),
            ("{tag}", tag),
            ("{token}", token),
            ("{webhook}", webhook),
        ];
    }

    fn exchange(&mut self, key: &str, audience: &str) -> String {
        let request = Request::new("POST", "/v1/exchange").bearer(key);
        let body = json!({ "audience": audience });
        let response = self.send(&request.body("application/json", body.to_string()));
        assert_eq!(response.status, 200, "{response:?}");
        text(&response.json(), "access_token")
    }

    fn create(&mut self, path: &str, body: &Value, member: &str) -> String {
        text(&self.manage("POST", path, body), member)
    }

    fn manage(&mut self, method: &'static str, path: &str, body: &Value) -> Value {
        let request = Request::new(method, path).bearer(&self.admin).body("application/json", body.to_string());
        let response = self.send(&request);
        assert!(response.status < 300, "{method} {path} {body}: {response:?}");
        response.json()
    }

    /// Sends a request, checks its response and returns it.
    pub fn send(&mut self, request: &Request) -> Response {
        let response = self.connection.send(request);
        self.check(request, &response);
        response
    }

    pub fn check(&self, request: &Request, response: &Response) {
        let secrets = ["{admin}", "{key}", "{session}"];
        let secrets = self.placeholders.iter().filter(|(name, _)| secrets.contains(name));
        check(request, response, &secrets.map(|(_, value)| value.as_str()).collect::<Vec<_>>());
    }

    /// Replaces the placeholders of an input with the values of this deployment.
    pub fn expand(&self, input: &[u8]) -> Vec<u8> {
        let mut expanded = Vec::with_capacity(input.len());
        let mut rest = input;
        while let Some(start) = rest.iter().position(|byte| *byte == b'{') {
            expanded.extend_from_slice(&rest[..start]);
            rest = &rest[start..];
            let found = self.placeholders.iter().find(|(name, _)| rest.starts_with(name.as_bytes()));
            let (length, value) = found.map_or((1, "{"), |(name, value)| (name.len(), value.as_str()));
            expanded.extend_from_slice(value.as_bytes());
            rest = &rest[length..];
        }
        expanded.extend_from_slice(rest);
        expanded
    }

    /// The value of a placeholder.
    pub fn value(&self, name: &str) -> String {
        let found = self.placeholders.iter().find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("there is no {name}")).1.clone()
    }
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("no {member}: {body}")).to_owned()
}
