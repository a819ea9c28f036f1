//! The `keyswap demo` command: the complete workflow on temporary data, over real HTTP.

use std::sync::Arc;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    app::{jobs::Jobs, startup::StartMode},
    cli::{common::Failure, compose},
    config::Config,
    crypto::{jwk::PublicJwk, token::TokenVerifier},
    http::server,
    store::SystemClock,
    telemetry,
};

pub async fn run(once: bool) -> Result<(), Failure> {
    telemetry::init_logging(false, "warn");
    let dir = std::env::temp_dir().join(format!("keyswap-demo-{}", std::process::id()));
    let result = run_on_temporary_data(&dir, once).await;
    let removed = std::fs::remove_dir_all(&dir);
    result?;
    removed.map_err(|error| Failure::Other(format!("cannot remove {}: {error}", dir.display())))
}

async fn run_on_temporary_data(dir: &std::path::Path, once: bool) -> Result<(), Failure> {
    let settings_of = |config: &Config| compose::server(config);
    let path = |name: &str| dir.join(name).display().to_string();
    let mut flags = vec![
        ("server.bind", "127.0.0.1:0".to_owned()),
        ("database.url", format!("sqlite://{}", path("demo.db"))),
        ("keys.dir", path("keys")),
    ];
    let first = Config::load(None, &flags)?;
    let bound = server::bind(&settings_of(&first))?;
    // The issuer contains the port, which is known only after binding.
    let issuer = format!("http://{}", bound.address);
    flags.push(("server.public_url", issuer.clone()));
    let config = Config::load(None, &flags)?;
    let services = Arc::new(compose::services(&config, StartMode::Serve, Arc::new(SystemClock)).await?);
    let servers = server::serve(bound, Arc::clone(&services), &settings_of(&config))?;
    let jobs = Jobs::start(&services);
    let handles = servers.handles();
    let running = actix_web::rt::spawn(servers.run());

    let admin = std::fs::read_to_string(&config.admin_key_file)
        .map_err(|error| Failure::Other(format!("cannot read the administrator's key: {error}")))?;
    let shown = demonstrate_exchange(&issuer, admin.trim()).await;
    let stay = shown.is_ok() && !once;
    if !stay {
        for handle in handles {
            handle.stop(true).await;
        }
    } else if let Err(failure) = print_suggestions(&issuer, admin.trim()).await {
        tracing::warn!(%failure, "no suggestions");
    }
    let served = running.await.map_err(|error| Failure::Other(error.to_string()))?;
    jobs.stop().await;
    shown?;
    Ok(served?)
}

/// A client for the local server over plain HTTP. It needs no root certificates, and the machine
/// may have none.
fn client() -> Result<Client, Failure> {
    Client::builder().tls_certs_only([]).build().map_err(|error| Failure::Other(error.to_string()))
}

async fn demonstrate_exchange(issuer: &str, admin: &str) -> Result<(), Failure> {
    let client = client()?;
    println!("Keyswap demo: an API key in, a signed JWT out.\n");
    println!("1. A server is running at {issuer}, on a new SQLite database.");
    println!("   Its first start made signing keys, an administrator and the administrator's API key.\n");

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
    println!("2. The administrator made two permissions, a service client and a key for it:\n\n   {value}\n");

    let body = json!({ "scope": "projects:read" });
    let token = send(client.post(v1("exchange")).bearer_auth(value).json(&body)).await?;
    let access_token = text(&token, "access_token")?;
    println!(
        "3. The client swapped it for a token that may only read, good for {} s:\n\n   {access_token}\n",
        token["expires_in"]
    );

    let metadata = send(client.get(format!("{issuer}/.well-known/oauth-authorization-server"))).await?;
    let jwks = send(client.get(text(&metadata, "jwks_uri")?)).await?;
    let claims = verify(access_token, &jwks, issuer)?;
    println!(
        "4. A service that knows the issuer and nothing else read its metadata and its JWKS, and verified the token:\n"
    );
    for line in claims.lines() {
        println!("   {line}");
    }

    send(client.post(v1(&format!("api-keys/{}/revoke", text(&key, "id")?))).bearer_auth(admin)).await?;
    let refused = client.post(v1("exchange")).bearer_auth(value).send().await.map_err(to_failure)?;
    println!("\n5. The key was revoked. The next swap was answered {}, at once.", refused.status());
    Ok(())
}

async fn print_suggestions(issuer: &str, admin: &str) -> Result<(), Failure> {
    let client = client()?;
    let again = json!({ "name": "Try it", "owner": { "type": "none" }, "permissions": ["projects:read"] });
    let again = send(client.post(format!("{issuer}/v1/api-keys")).bearer_auth(admin).json(&again)).await?;
    println!("\nTry it yourself, with another key:\n");
    println!("   curl -X POST {issuer}/v1/exchange -H 'Authorization: Bearer {}'", text(&again, "value")?);
    println!("   curl {issuer}/.well-known/jwks.json");
    println!("   curl {issuer}/v1/events -H 'Authorization: Bearer {admin}'");
    println!("\nServing until Ctrl-C; everything is thrown away then.");
    Ok(())
}

async fn send(request: RequestBuilder) -> Result<Value, Failure> {
    let response = request.send().await.map_err(to_failure)?;
    let status = response.status();
    let body: Value = response.json().await.map_err(to_failure)?;
    if status.is_success() { Ok(body) } else { Err(Failure::Other(format!("answered {status}: {body}"))) }
}

fn text<'a>(body: &'a Value, member: &str) -> Result<&'a str, Failure> {
    body[member].as_str().ok_or_else(|| Failure::Other(format!("the answer has no {member}")))
}

/// Verifies a token with nothing but the JWKS, as a resource server does.
fn verify(token: &str, jwks: &Value, issuer: &str) -> Result<String, Failure> {
    let keys: Vec<PublicJwk> = serde_json::from_value(jwks["keys"].clone()).map_err(to_failure)?;
    let claims = keys.iter().filter_map(TokenVerifier::new).find_map(|verifier| verifier.verify(token, issuer, issuer));
    let claims = claims.ok_or_else(|| Failure::Other("the token does not verify".to_owned()))?;
    serde_json::to_string_pretty(&claims).map_err(to_failure)
}

fn to_failure(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}
