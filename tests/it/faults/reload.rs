//! Reloading the configuration of a running server: by SIGHUP, and when files change.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Response;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    process::{Deployment, LONG, Process, Running, each, until},
    tls_server::{Identity, address, serve_tls, serve_tls_with, url},
};
use crate::support::Kind;

const ORIGIN: &str = "https://page.test";

/// Settings that a reload applies.
const CHANGED: &str = r#"
[server]
trusted_proxies = ["127.0.0.0/8"]
[portal]
allowed_origins = ["https://page.test"]
[limits]
keys_per_owner = 2
[brute_force]
per_source = 1
[log]
level = "debug"
"#;

/// A server with a configuration file. The settings that the tests change are not set otherwise.
struct Configured {
    server: Running,
    admin: String,
    file: PathBuf,
    /// Its database is deleted when it is dropped.
    _deployment: Deployment,
}

impl Configured {
    fn start(deployment: Deployment, text: &str) -> Self {
        let file = deployment.database.dir.path().join("keyswap.toml");
        fs::write(&file, text).unwrap();
        let mut deployment = deployment;
        deployment.settings.retain(|setting| !setting.starts_with("brute_force."));
        let command = deployment.command(&["serve", "--config", file.to_str().unwrap()]);
        let server = Process::spawn(command).ready();
        Self { server, admin: deployment.admin(), file, _deployment: deployment }
    }

    /// Writes the file, and waits until the log contains `text`. With `signal`, SIGHUP is sent.
    async fn reload(&self, content: &str, has_signal: bool, text: &str) {
        fs::write(&self.file, content).unwrap();
        if has_signal {
            self.server.process.signal(Signal::HUP);
        }
        until(text, LONG, || async { self.log().contains(text) }).await;
    }

    fn log(&self) -> String {
        self.server.process.log()
    }

    async fn get(&self, name: &'static str, value: &'static str) -> Response {
        let request = self.server.http.get(self.server.url("/v1/api-keys")).bearer_auth(&self.admin);
        request.header(name, value).send().await.unwrap()
    }

    async fn allows_origin(&self) -> bool {
        self.get("origin", ORIGIN).await.headers().contains_key("access-control-allow-origin")
    }

    /// The request id of trusted proxies is used.
    async fn trusts_proxy(&self) -> bool {
        self.get("x-request-id", "from-the-proxy").await.headers()["x-request-id"] == "from-the-proxy"
    }

    /// The status of the creation of a key of this service client.
    async fn create_key(&self, client: &Value) -> u16 {
        let owner = json!({ "type": "service_client", "id": client["id"] });
        let body = json!({ "name": "a key", "owner": owner, "permissions": [] });
        self.server.call(&self.admin, "POST", "/v1/api-keys", Some(body)).await.status().as_u16()
    }

    /// The statuses of two wrong keys.
    async fn fail_twice(&self) -> [u16; 2] {
        let mut statuses = [0; 2];
        for status in &mut statuses {
            *status = self.server.exchange("ks_malformed").await.status().as_u16();
        }
        statuses
    }

    async fn count_reloads(&self, result: &str) -> u64 {
        let text = self.server.call(&self.admin, "GET", "/metrics", None).await.text().await.unwrap();
        let name = format!("keyswap_config_reloads_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

each! {
    async fn sighup_applies_what_can_change(deployment: Deployment) {
        let running = Configured::start(deployment, "[log]\nlevel = \"info\"\n");
        let client = json!({ "name": "a client", "permissions": [] });
        let client: Value =
            running.server.call(&running.admin, "POST", "/v1/service-clients", Some(client)).await.json().await.unwrap();
        assert_eq!([running.create_key(&client).await, running.create_key(&client).await], [201; 2]);
        assert_eq!(running.fail_twice().await, [401; 2]);
        assert!(!running.allows_origin().await && !running.trusts_proxy().await);
        assert!(!running.log().contains("sent a response"));

        running.reload(CHANGED, true, "configuration reloaded").await;
        for name in ["server.trusted_proxies", "portal.allowed_origins", "limits.keys_per_owner", "log.level"] {
            assert!(running.log().contains(name), "{name}: {}", running.log());
        }
        assert!(running.allows_origin().await && running.trusts_proxy().await);
        assert_eq!(running.create_key(&client).await, 409);
        assert_eq!(running.fail_twice().await[1], 429);
        assert!(running.log().contains("sent a response"));
        assert!(!running.log().contains("need a restart"), "{}", running.log());

        // Every fault is reported, and nothing is applied.
        let invalid = format!("{CHANGED}[api_keys]\nprefix = \"ks!\"\n[nowhere]\na = 1\n").replace(ORIGIN, "https://other.test");
        running.reload(&invalid, true, "failed to reload").await;
        let log = running.log();
        let line = log.lines().find(|line| line.contains("failed to reload")).unwrap();
        assert!(line.contains("api_keys.prefix: ") && line.contains("nowhere: "), "{line}");
        assert!(running.allows_origin().await && running.trusts_proxy().await);
        assert!(running.count_reloads("applied").await >= 1 && running.count_reloads("refused").await >= 1);
        running.server.stop();
    }

    async fn what_needs_a_restart_is_named(deployment: Deployment) {
        let running = Configured::start(deployment, "");
        let changed = "[tokens]\ndefault_ttl = \"5m\"\n[signing_keys]\nrotation_period = \"30d\"\n[portal]\nallowed_origins = [\"https://page.test\"]\n";
        // Without a signal.
        running.reload(changed, false, "changed settings need a restart: ").await;
        let log = running.log();
        assert!(log.contains("need a restart: signing_keys.rotation_period, tokens.default_ttl; restart"), "{log}");
        assert!(running.allows_origin().await);
        // As at the start, the log names what is risky.
        let risky = "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n";
        running.reload(risky, false, "every client is trusted to name its own address").await;
        until("the origin is not allowed", LONG, || async { !running.allows_origin().await }).await;
        running.server.stop();
    }
}

/// Whether a new connection is served with this certificate.
async fn is_served(server: &Running, identity: &Identity) -> bool {
    identity.client(address(server)).get(url(server, "/healthz")).send().await.is_ok()
}

/// Makes `link` lead to `target`, as Kubernetes does for mounted secrets.
fn point(link: &Path, target: &str) {
    let new = link.with_extension("new");
    symlink(target, &new).unwrap();
    fs::rename(&new, link).unwrap();
}

#[tokio::test]
async fn replaced_certificate_is_used_without_a_signal() {
    let deployment = Deployment::new(Kind::Sqlite);
    let dir = deployment.database.dir.path();
    let (first, second) = (Identity::new(), Identity::new());
    first.write(&dir.join("v1"));
    point(&dir.join("mounted"), "v1");
    let server = serve_tls(&deployment, &dir.join("mounted"));
    let open = first.client(address(&server));
    let is_open = async || open.get(url(&server, "/healthz")).send().await.is_ok();
    assert!(is_open().await && !is_served(&server, &second).await);

    // The key follows later.
    first.write(&dir.join("v2"));
    fs::write(dir.join("v2/tls.crt"), &second.certificate).unwrap();
    point(&dir.join("mounted"), "v2");
    until("it is reported", LONG, || async { server.process.log().contains("do not match") }).await;
    assert!(is_served(&server, &first).await && !is_served(&server, &second).await);
    fs::write(dir.join("v2/tls.key"), &second.key).unwrap();
    until("the new certificate is used", LONG, || is_served(&server, &second)).await;
    assert!(!is_served(&server, &first).await);
    assert!(is_open().await, "open connections live on");

    // A file that is no certificate.
    fs::write(dir.join("v2/tls.crt"), "nonsense").unwrap();
    server.process.signal(Signal::HUP);
    until("it is refused", LONG, || async { server.process.log().contains("failed to reload the configuration") })
        .await;
    assert!(is_served(&server, &second).await);
    server.stop();
}

#[tokio::test]
async fn certificate_is_replaced_while_the_configuration_is_refused() {
    let deployment = Deployment::new(Kind::Sqlite);
    let dir = deployment.database.dir.path().join("tls");
    let (first, second) = (Identity::new(), Identity::new());
    first.write(&dir);
    let file = dir.join("keyswap.toml");
    fs::write(&file, "").unwrap();
    let server = serve_tls_with(&deployment, &dir, &["--config", file.to_str().unwrap()]);
    assert!(is_served(&server, &first).await);
    fs::write(&file, "[nowhere]\na = 1\n").unwrap();
    server.process.signal(Signal::HUP);
    until("it is refused", LONG, || async { server.process.log().contains("failed to reload") }).await;
    second.write(&dir);
    until("the new certificate is used", LONG, || is_served(&server, &second)).await;
    assert!(!server.process.log().contains("configuration reloaded"));
    server.stop();
}

#[tokio::test]
async fn refused_reload_is_retried() {
    let deployment = Deployment::new(Kind::Sqlite);
    let (file, elsewhere) = ["level", "elsewhere"].map(|name| deployment.database.dir.path().join(name)).into();
    fs::write(&file, "info\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let mut command = deployment.command(&["serve"]);
    command.env("KEYSWAP__LOG__LEVEL_FILE", &file);
    let server = Process::spawn(command).ready();
    fs::rename(&file, &elsewhere).unwrap();
    server.process.signal(Signal::HUP);
    until("it is refused", LONG, || async { server.process.log().contains("failed to reload") }).await;
    assert!(server.process.log().contains("KEYSWAP__LOG__LEVEL_FILE: "), "{}", server.process.log());
    fs::rename(&elsewhere, &file).unwrap();
    until("it is applied", LONG, || async { server.process.log().contains("configuration reloaded") }).await;
    server.stop();
}

/// An empty file is a valid configuration.
#[tokio::test]
async fn file_is_not_read_while_it_is_written() {
    let running = Configured::start(Deployment::new(Kind::Sqlite), "[log]\nlevel = \"info\"\n");
    for turn in 0..13 {
        fs::write(&running.file, "#".repeat(turn)).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!running.log().contains("configuration reloaded"), "{}", running.log());
    running.reload(CHANGED, false, "configuration reloaded").await;
    assert!(running.allows_origin().await);
    running.server.stop();
}
