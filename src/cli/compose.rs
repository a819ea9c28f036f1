//! Converts the configuration into the settings of the other modules, which do not depend on
//! `config`.

use std::sync::Arc;

use crate::{
    app::startup::{self, BruteForceSettings, StartMode},
    cli::common::{CommonArgs, Failure},
    config::{self, Config},
    domain::exchange::facts::Limits,
    http::server::ServerSettings,
    outbound::Guard,
    service::{Services, Settings},
    store::{Clock, DatabaseSettings, DatabaseUrl, SystemClock},
    telemetry,
};

pub fn database(config: &Config) -> Result<DatabaseSettings, Failure> {
    Ok(DatabaseSettings {
        url: DatabaseUrl::parse(config.database.url.expose())?,
        pool_size: config.database.pool_size,
        connect_timeout: config.database.connect_timeout.duration(),
        statement_timeout: config.database.statement_timeout.duration(),
    })
}

/// Fails with `Failure::Config` if the management audience derived from the public URL is not a
/// valid identifier.
pub fn settings(config: &Config) -> Result<Settings, Failure> {
    let issuer = config.server.public_url.clone();
    let management_audience = config::management_audience(&issuer);
    Ok(Settings {
        management_audience: management_audience
            .parse()
            .map_err(|error| config::Invalid(vec![format!("server.public_url: {error}")]))?,
        limits: Limits {
            issuer,
            default_audience: config.tokens.default_audience.clone(),
            default_ttl: config.tokens.default_ttl,
            max_ttl: config.signing_keys.timing.max_ttl,
            end_with_creator: config.api_keys.end_with_creator,
            algorithm: config.signing_keys.algorithm,
        },
        timing: config.signing_keys.timing,
        algorithm: config.signing_keys.algorithm,
        rotation_period: config.signing_keys.rotation_period,
        replica_name: describe_process(),
        prefix: config.api_keys.prefix.clone(),
        accepted_prefixes: config.api_keys.accepted_prefixes.clone(),
        accept_imported_keys: config.api_keys.imported,
        max_key_lifetime: config.api_keys.max_lifetime,
        owner_types: config.api_keys.owner_types.iter().copied().collect(),
        status_ttl: config.status_lists.ttl,
        flush_interval: config.usage.flush_interval.duration(),
        session_ttl: config.portal.session_ttl,
        choices: config.portal.choices.clone(),
        portal_url: config.portal.public_url.clone(),
        max_clients_per_user: config.service_clients.max_per_user,
        keys_dir: config.keys.dir.clone(),
        admin_key_file: config.admin_key_file.clone(),
        rollback_guard_file: config.keys.rollback_guard.clone(),
        may_create_keys: config.keys.create,
        guard: Guard {
            allowed_networks: config.webhooks.allowed_networks.clone(),
            allowed_ports: config.webhooks.allowed_ports.clone(),
            allow_http: config.webhooks.allow_http,
        },
    })
}

/// Returns the host name and the process id, by which an operator finds the process.
fn describe_process() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", machine.trim(), std::process::id()).trim().to_owned()
}

pub fn server(config: &Config) -> ServerSettings {
    ServerSettings {
        bind: config.server.bind,
        admin_bind: config.server.admin_bind,
        trusted_proxies: config.server.trusted_proxies.clone(),
        allowed_origins: config.portal.allowed_origins.clone(),
        tls: config.server.tls.as_ref().map(|tls| (tls.certificate.clone(), tls.key.clone())),
        shutdown_timeout: config.server.shutdown_timeout.duration(),
    }
}

/// Starts the application with a configuration.
pub async fn services(config: &Config, mode: StartMode, clock: Arc<dyn Clock>) -> Result<Services, Failure> {
    let budgets = BruteForceSettings {
        per_source: config.brute_force.per_source,
        per_credential: config.brute_force.per_credential,
        refill: config.brute_force.refill,
    };
    Ok(startup::start(settings(config)?, &database(config)?, budgets, mode, clock).await?)
}

/// Starts the application for a command other than `serve`. It creates nothing, and logs warnings
/// and errors only.
pub(crate) async fn start_app_for_command(common: &CommonArgs) -> Result<Services, Failure> {
    let config = common.config()?;
    telemetry::init_logging(config.log.json, "warn");
    services(&config, StartMode::Command, Arc::new(SystemClock)).await
}
