//! A server in the test process on its own port, and the calls that tests make.

use std::{future::Future, sync::Arc, thread, time::Duration};

use actix_web::dev::ServerHandle;
use keyswap::{
    app::{
        jobs::Jobs,
        startup::{self, StartMode},
    },
    domain::events::{Actor, Origin},
    http::server,
    service::{Services, integrity},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Database, Kind, MANUAL_JOBS, panics};

pub struct Server {
    pub services: Arc<Services>,
    /// The base URL, without a trailing slash.
    pub base: String,
    /// The administrator's API key.
    pub admin: String,
    pub http: Client,
    pub database: Arc<Database>,
    settings: Vec<String>,
    handles: Vec<ServerHandle>,
    thread: Option<thread::JoinHandle<()>>,
}

/// An API key created by a test.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub value: String,
    /// The id of the owner. Empty for a key without an owner.
    pub client: String,
}

type Started = (Arc<Services>, String, Vec<ServerHandle>);

impl Server {
    /// Runs a test with a new server on a new database. Each setting is a text such as
    /// `tokens.max_ttl=5m`, or `MANUAL_JOBS`.
    pub fn run<F: Future<Output = ()>>(kind: Kind, settings: &[&str], test: impl FnOnce(Self) -> F) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { test(Self::on(Arc::new(Database::new(kind)), settings).await).await });
        panics::assert_none();
    }

    /// Starts another server on the same database with the same master key, as a replica.
    pub async fn replica(&self) -> Self {
        let settings: Vec<_> = self.settings.iter().map(String::as_str).collect();
        Self::on(Arc::clone(&self.database), &settings).await
    }

    /// Starts a server on `database`.
    pub async fn on(database: Arc<Database>, settings: &[&str]) -> Self {
        Self::on_with(database, settings, |_| {}).await
    }

    /// Like `on`, and lets `adjust` change values that no setting reaches.
    pub async fn on_with(database: Arc<Database>, settings: &[&str], adjust: fn(&mut Services)) -> Self {
        let path = |name: &str| database.dir.path().join(name).display().to_string();
        let mut all: Vec<String> = vec![
            format!("database.url={}", database.url),
            format!("keys.dir={}", path("keys")),
            "keys.create=true".to_owned(),
            "server.bind=127.0.0.1:0".to_owned(),
            "server.public_url=http://keyswap.test".to_owned(),
            // Three requests and several jobs may wait for one lock.
            "database.pool_size=8".to_owned(),
            // A shared machine can stall for seconds. `faults::outage` tests database outages
            // against separate processes.
            "database.connect_timeout=20s".to_owned(),
            "database.statement_timeout=20s".to_owned(),
            "database.lease=30s".to_owned(),
            "brute_force.per_source=10000".to_owned(),
            "brute_force.per_credential=10000".to_owned(),
            // Tests change faster than the owners of a deployment.
            "limits.changes_per_owner=0".to_owned(),
            "limits.changes_per_organization=0".to_owned(),
            // Rotation is off: tests move the clock by months and count events.
            "signing_keys.rotation_period=".to_owned(),
        ];
        all.extend(settings.iter().filter(|text| **text != MANUAL_JOBS).map(|text| (*text).to_owned()));
        let by_clock = !settings.contains(&MANUAL_JOBS);
        let (started, running) = oneshot::channel::<Started>();
        let clock = database.clock();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let config = keyswap::config::Settings::load(None, &all).unwrap();
                let bound = server::bind(&config.server).unwrap();
                let base = format!("http://{}", bound.address);
                let mut services = startup::start(config, StartMode::Serve, clock).await.unwrap();
                adjust(&mut services);
                let services = Arc::new(services);
                let servers = server::serve(bound, Arc::clone(&services)).unwrap();
                let jobs = by_clock.then(|| Jobs::start(&services));
                assert!(started.send((services, base, servers.handles())).is_ok());
                servers.run().await.unwrap();
                if let Some(jobs) = jobs {
                    jobs.stop().await;
                }
            });
        });
        let (services, base, handles) = running.await.expect("the server did not start: see above");
        let admin = std::fs::read_to_string(database.dir.path().join("keys/administrator.key")).unwrap();
        Self {
            services,
            base,
            admin: admin.trim().to_owned(),
            http: client(),
            database,
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
            handles,
            thread: Some(thread),
        }
    }

    /// Stops the server gracefully, as SIGTERM does.
    pub async fn stop(mut self) -> Arc<Database> {
        for handle in &self.handles {
            handle.stop(true).await;
        }
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        Arc::clone(&self.database)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.url(path))
    }

    /// Posts a form to the token endpoint.
    pub async fn token(&self, pairs: &[(&str, &str)]) -> Response {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let request = self.post("/oauth/token").header("content-type", "application/x-www-form-urlencoded").body(body);
        request.send().await.unwrap()
    }

    /// Exchanges a key at `/v1/exchange` without a body.
    pub async fn exchange(&self, key: &str) -> Response {
        self.post("/v1/exchange").bearer_auth(key).send().await.unwrap()
    }

    /// Exchanges a key at `/v1/exchange` with a JSON body.
    pub async fn exchange_for(&self, key: &str, body: Value) -> Response {
        self.post("/v1/exchange").bearer_auth(key).json(&body).send().await.unwrap()
    }

    /// Exchanges a key that must be accepted, and returns the token.
    pub async fn fetch_token(&self, key: &str) -> String {
        let body = body_of(self.exchange(key).await, StatusCode::OK).await;
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// Calls the management API as the administrator and asserts the status of the response.
    pub async fn manage(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let request = self.http.request(method.parse().unwrap(), self.url(path)).bearer_auth(&self.admin);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        body_of(request.send().await.unwrap(), StatusCode::from_u16(status).unwrap()).await
    }

    /// Defines permissions in the catalog that can be assigned to service clients.
    pub async fn permissions(&self, names: &[&str]) {
        for name in names {
            let body = json!({ "assignable_to": ["service_client"] });
            let request = self.http.put(self.url(&format!("/v1/permissions/{name}"))).bearer_auth(&self.admin);
            assert!(request.json(&body).send().await.unwrap().status().is_success());
        }
    }

    pub async fn audience(&self, identifier: &str, permissions: Option<&[&str]>) -> Value {
        let body = json!({ "identifier": identifier, "permissions": permissions });
        self.manage("POST", "/v1/audiences", Some(body), 201).await
    }

    /// Creates a service client with these permissions, and a key of it that carries all of them.
    pub async fn client_key(&self, permissions: &[&str]) -> Key {
        let product: Vec<_> = permissions.iter().copied().filter(|name| !name.starts_with("keyswap:")).collect();
        self.permissions(&product).await;
        let body = json!({ "name": "a client", "permissions": permissions });
        let client = self.manage("POST", "/v1/service-clients", Some(body), 201).await;
        let owner = json!({ "type": "service_client", "id": client["id"] });
        self.key(json!({ "name": "a key", "owner": owner, "permissions": permissions })).await
    }

    /// Creates a key without an owner that carries these permissions.
    pub async fn generic_key(&self, permissions: &[&str]) -> Key {
        self.permissions(permissions).await;
        self.key(json!({ "name": "a key", "owner": { "type": "none" }, "permissions": permissions })).await
    }

    /// Creates a key from the given request body.
    pub async fn key(&self, body: Value) -> Key {
        let key = self.manage("POST", "/v1/api-keys", Some(body), 201).await;
        Key {
            id: key["id"].as_str().unwrap().to_owned(),
            value: key["value"].as_str().unwrap().to_owned(),
            client: key["owner"]["id"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Applies a transition: `suspend`, `resume` or `revoke`.
    pub async fn step(&self, key: &Key, step: &str) {
        self.manage("POST", &format!("/v1/api-keys/{}/{step}", key.id), None, 200).await;
    }

    pub fn advance(&self, seconds: i64) {
        self.database.move_clock(seconds * 1000);
    }

    /// Accepts every altered row as an operator does, so that a test reaches the rules behind the
    /// authentication of rows.
    pub async fn accept_altered_rows(&self) {
        let found = integrity::check(&self.services, Duration::ZERO).await.unwrap().faults;
        for row in found {
            let operator = Origin::of(Actor::Operator);
            integrity::accept(&self.services, row.table.as_str(), row.id, operator).await.unwrap();
        }
    }

    /// Returns every event, oldest first.
    pub async fn events(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let page = self.manage("GET", &format!("/v1/events?limit=100&after={after}"), None, 200).await;
            all.extend(page["data"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return all,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for handle in &self.handles {
            drop(handle.stop(false));
        }
    }
}

/// An HTTP client for tests. It follows no redirects and has a timeout of 60 s.
pub fn client() -> Client {
    let builder = Client::builder().tls_certs_only([]).redirect(Policy::none());
    builder.timeout(Duration::from_secs(60)).build().unwrap()
}

/// The JSON body of a response, or `null` if it is empty. Asserts the status.
pub async fn body_of(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}
