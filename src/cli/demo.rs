//! The `keyswap demo` command: the complete workflow on temporary data, over real HTTP.

use std::{future::pending, path::Path, sync::Arc};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    app::{
        jobs::Jobs,
        startup::{self, StartMode},
    },
    cli::{
        common::{CommonArgs, Failure},
        signals::Signals,
    },
    config::{Settings, sections::LogFormat},
    crypto::{jwk::PublicJwk, token::TokenVerifier},
    http::server,
    service::lifecycle::Phase,
    store::SystemClock,
    telemetry,
};

/// Settings that the demo chooses itself.
const FIXED: [&str; 7] = [
    "database.url",
    "keys.dir",
    "keys.rollback_guard",
    "bootstrap.admin_key_file",
    "server.public_url",
    "server.tls_certificate",
    "server.tls_key",
];

pub async fn run(common: &CommonArgs, once: bool) -> Result<(), Failure> {
    if common.config.is_some() {
        return Err(Failure::Usage("demo does not read --config, because its data is temporary; use --set".to_owned()));
    }
    // The value is not quoted: it may contain a password.
    let mut paths = common.set.iter().filter_map(|setting| setting.split_once('=').map(|(path, _)| path));
    if let Some(path) = paths.find(|path| FIXED.contains(path)) {
        return Err(Failure::Usage(format!("demo chooses {path} itself; remove this --set")));
    }
    let dir = std::env::temp_dir().join(format!("keyswap-demo-{}", std::process::id()));
    // Fails if the directory exists: another user may have created it.
    std::fs::create_dir(&dir)
        .map_err(|error| Failure::Other(format!("failed to create {}: {error}", dir.display())))?;
    let result = run_on_temporary_data(&dir, &common.set, once).await;
    let removed = if dir.exists() { std::fs::remove_dir_all(&dir) } else { Ok(()) };
    result?;
    removed.map_err(|error| Failure::Other(format!("failed to remove {}: {error}", dir.display())))
}

/// Loads the settings: `set` takes precedence over the defaults of the demo, but not over `FIXED`.
fn load(dir: &Path, set: &[String], public_url: &str) -> Result<Settings, Failure> {
    let mut settings = vec!["server.bind=127.0.0.1:0".to_owned(), "log.level=warn".to_owned()];
    settings.extend_from_slice(set);
    settings.extend(FIXED.iter().map(|path| match *path {
        "database.url" => format!("{path}=sqlite://{}", dir.join("demo.db").display()),
        "keys.dir" => format!("{path}={}", dir.join("keys").display()),
        "server.public_url" => format!("{path}={public_url}"),
        _ => format!("{path}="),
    }));
    Ok(Settings::load(None, &settings)?)
}

async fn run_on_temporary_data(dir: &Path, set: &[String], once: bool) -> Result<(), Failure> {
    let settings = load(dir, set, "http://localhost")?;
    let _log = telemetry::init_logging(settings.log.format == LogFormat::Json, &settings.log.level);
    let mut signals = Signals::catch().map_err(Failure::other)?;
    signals.begin_serving();
    let bound = server::bind(&settings.server)?;
    // The issuer contains the port, which is known only after binding.
    let issuer = format!("http://{}", bound.address);
    let settings = load(dir, set, &issuer)?;
    let admin_key_file = settings.admin_key_file();
    let services = Arc::new(startup::start(settings, StartMode::Serve, Arc::new(SystemClock)).await?);
    let servers = server::serve(bound, Arc::clone(&services))?;
    let jobs = Jobs::start(&services);
    let handles = servers.handles();
    let running = actix_web::rt::spawn(servers.run());

    let admin = std::fs::read_to_string(&admin_key_file)
        .map_err(|error| Failure::Other(format!("failed to read {}: {error}", admin_key_file.display())))?;
    let audience = services.settings.limits.default_audience.as_str();
    let demonstration = async {
        demonstrate_exchange(&issuer, audience, admin.trim()).await?;
        if once {
            return Ok(());
        }
        print_suggestions(&issuer, admin.trim()).await?;
        pending().await
    };
    let result: Result<(), Failure> = tokio::select! {
        result = demonstration => result,
        // The demo has no configuration to reload.
        () = signals.next_stop() => Ok(()),
    };
    services.lifecycle.enter(Phase::Stopping);
    for handle in handles {
        handle.stop(true).await;
    }
    let served = running.await.map_err(Failure::other)?;
    jobs.stop().await;
    result?;
    Ok(served?)
}

/// A client for the local server over plain HTTP. It needs no root certificates, and the machine
/// may have none.
fn client() -> Result<Client, Failure> {
    Client::builder().tls_certs_only([]).build().map_err(Failure::other)
}

async fn demonstrate_exchange(issuer: &str, audience: &str, admin: &str) -> Result<(), Failure> {
    let client = client()?;
    println!("Keyswap demo: an API key in, a signed JWT out.\n");
    println!("1. A server runs at {issuer}, on a new SQLite database. Its first start created");
    println!("   signing keys, an administrator and the administrator's API key.\n");

    let v1 = |path: &str| format!("{issuer}/v1/{path}");
    for (name, description) in [("projects:read", "see projects"), ("projects:write", "change projects")] {
        let body = json!({ "description": description, "assignable_to": ["service_client"] });
        send(client.put(v1(&format!("permissions/{name}"))).bearer_auth(admin).json(&body)).await?;
    }
    let permissions = ["projects:read", "projects:write"];
    let body = json!({ "name": "Nightly report", "permissions": permissions });
    let service_client = send(client.post(v1("service-clients")).bearer_auth(admin).json(&body)).await?;
    let owner = json!({ "type": "service_client", "id": service_client["id"] });
    let body = json!({ "name": "Report key", "owner": owner, "permissions": permissions });
    let key = send(client.post(v1("api-keys")).bearer_auth(admin).json(&body)).await?;
    let value = text(&key, "value")?;
    println!("2. The administrator created two permissions, a service client and an API key:\n\n   {value}\n");

    let body = json!({ "scope": "projects:read" });
    let token = send(client.post(v1("exchange")).bearer_auth(value).json(&body)).await?;
    let access_token = text(&token, "access_token")?;
    let lifetime = &token["expires_in"];
    println!("3. The client exchanged the key for a token with the scope projects:read.");
    println!("   It expires in {lifetime} s:\n\n   {access_token}\n");

    let metadata = send(client.get(format!("{issuer}/.well-known/oauth-authorization-server"))).await?;
    let jwks = send(client.get(text(&metadata, "jwks_uri")?)).await?;
    println!("4. A service that knows only the issuer read its metadata and its JWKS, and verified");
    println!("   the token:\n");
    for line in verify(access_token, &jwks, issuer, audience)?.lines() {
        println!("   {line}");
    }

    send(client.post(v1(&format!("api-keys/{}/revoke", text(&key, "id")?))).bearer_auth(admin)).await?;
    let refused = client.post(v1("exchange")).bearer_auth(value).send().await.map_err(Failure::other)?;
    println!("\n5. The key was revoked. The next exchange was refused with {}.", refused.status());
    Ok(())
}

async fn print_suggestions(issuer: &str, admin: &str) -> Result<(), Failure> {
    let body = json!({ "name": "Try it", "owner": { "type": "none" }, "permissions": ["projects:read"] });
    let key = send(client()?.post(format!("{issuer}/v1/api-keys")).bearer_auth(admin).json(&body)).await?;
    println!("\nTry it with another key:\n");
    println!("   curl -X POST {issuer}/v1/exchange -H 'Authorization: Bearer {}'", text(&key, "value")?);
    println!("   curl {issuer}/.well-known/jwks.json");
    println!("   curl {issuer}/v1/events -H 'Authorization: Bearer {admin}'");
    println!("\nServing until Ctrl-C. All data is then deleted.");
    Ok(())
}

async fn send(request: RequestBuilder) -> Result<Value, Failure> {
    let response = request.send().await.map_err(Failure::other)?;
    let status = response.status();
    let body: Value = response.json().await.map_err(Failure::other)?;
    if status.is_success() { Ok(body) } else { Err(Failure::Other(format!("the server responded {status}: {body}"))) }
}

fn text<'a>(body: &'a Value, member: &str) -> Result<&'a str, Failure> {
    body[member].as_str().ok_or_else(|| Failure::Other(format!("the response has no {member}")))
}

/// Verifies a token with nothing but the JWKS, as a resource server does.
fn verify(token: &str, jwks: &Value, issuer: &str, audience: &str) -> Result<String, Failure> {
    let keys: Vec<PublicJwk> = serde_json::from_value(jwks["keys"].clone()).map_err(Failure::other)?;
    let claims =
        keys.iter().filter_map(TokenVerifier::new).find_map(|verifier| verifier.verify(token, issuer, audience));
    let claims = claims.ok_or_else(|| Failure::Other("failed to verify the token".to_owned()))?;
    serde_json::to_string_pretty(&claims).map_err(Failure::other)
}
