//! Configuration. Precedence, lowest first: defaults, file, environment, flags. All faults are
//! reported together, each with the path of its setting.

mod reader;
pub mod sections;

use std::{collections::BTreeSet, path::PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
    value::Value,
};

use crate::{
    config::{
        reader::Reader,
        sections::{
            ApiKeys, BruteForce, Database, Log, MasterKeySettings, Portal, SecretDatabaseUrl, Server, ServiceClients,
            SigningKeys, StatusLists, Tls, Tokens, Usage, Webhooks,
        },
    },
    domain::{
        access::audience::Identifier,
        common::{origin::Origin, time::Span},
        credentials::format::Prefix,
        portal::session::KeyFormOption,
        signing::rotation::RotationTiming,
    },
};

/// The defaults, compiled into the program.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The settings of all commands.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub keys: MasterKeySettings,
    pub tokens: Tokens,
    pub signing_keys: SigningKeys,
    pub api_keys: ApiKeys,
    pub status_lists: StatusLists,
    pub portal: Portal,
    pub service_clients: ServiceClients,
    pub usage: Usage,
    pub brute_force: BruteForce,
    pub webhooks: Webhooks,
    pub admin_key_file: PathBuf,
    pub log: Log,
}

/// All faults of a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct Invalid(pub Vec<String>);

impl Config {
    /// Loads the configuration. `flags` are pairs of path and value, such as
    /// `("server.bind", "0.0.0.0:80")`.
    pub fn load(file: Option<&std::path::Path>, flags: &[(&str, String)]) -> Result<Self, Invalid> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("KEYSWAP__").split("__"));
        for (path, value) in flags {
            // Values are parsed like environment variables: `true` is a boolean, `8` is a number,
            // and any other text is a string.
            let value: Value = value.parse().unwrap_or_else(|_| Value::from(value.as_str()));
            figment = figment.merge(Serialized::global(path, value));
        }
        Self::read(Reader::new(figment))
    }

    fn read(mut from: Reader) -> Result<Self, Invalid> {
        from.reject_unknown(DEFAULTS);
        let public_url: Option<String> = from.get("server.public_url");
        if let Some(fault) = public_url.as_deref().and_then(validate_public_url) {
            from.fault("server.public_url", fault);
        }
        let bind = from.parse("server.bind");
        let admin_bind = from.optional("server.admin_bind");
        let trusted_proxies = from.parse_list("server.trusted_proxies");
        let certificate: Option<PathBuf> = from.optional("server.tls_certificate");
        let key: Option<PathBuf> = from.optional("server.tls_key");
        if certificate.is_some() != key.is_some() {
            from.fault("server.tls_key", "tls_certificate and tls_key are given together or not at all");
        }
        let shutdown_timeout = from.parse("server.shutdown_timeout");

        let url: Option<String> = from.get("database.url");
        let pool_size = from.within("database.pool_size", 1, 512);
        let connect_timeout: Option<Span> = from.parse("database.connect_timeout");
        let statement_timeout: Option<Span> = from.parse("database.statement_timeout");
        for (path, span) in
            [("database.connect_timeout", connect_timeout), ("database.statement_timeout", statement_timeout)]
        {
            if span.is_some_and(|span| !(1..=60).contains(&span.as_secs())) {
                from.fault(path, "must be from 1s to 60s: a request waits that long");
            }
        }

        let dir: Option<PathBuf> = from.parse("keys.dir");
        let create = from.get("keys.create");
        let rollback_guard: Option<PathBuf> = from.optional("keys.rollback_guard");

        let default_ttl: Option<Span> = from.parse("tokens.default_ttl");
        let max_ttl: Option<Span> = from.parse("tokens.max_ttl");
        if let (Some(default), Some(max)) = (default_ttl, max_ttl) {
            if default.as_secs() == 0 {
                from.fault("tokens.default_ttl", "must be a second or more");
            }
            if default > max {
                from.fault("tokens.default_ttl", "is longer than tokens.max_ttl");
            }
        }
        let audience: Option<Identifier> = from.optional("tokens.default_audience");
        let default_audience = audience.or_else(|| public_url.as_deref().and_then(|url| url.parse().ok()));
        if let (Some(audience), Some(url)) = (&default_audience, &public_url)
            && audience.as_str() == management_audience(url)
        {
            from.fault("tokens.default_audience", "is Keyswap's own /v1, which is never a default");
        }

        let algorithm = from.parse("signing_keys.algorithm");
        let verifier_cache_ttl = from.parse("signing_keys.verifier_cache_ttl");
        let replica_staleness: Option<Span> = from.parse("signing_keys.replica_staleness");
        if replica_staleness.is_some_and(|span| span.as_secs() == 0) {
            from.fault("signing_keys.replica_staleness", "must be a second or more");
        }
        let rotation_period: Option<Span> = from.optional("signing_keys.rotation_period");
        if rotation_period.is_some_and(|span| span.as_secs() == 0) {
            from.fault("signing_keys.rotation_period", "must be a second or more, or not set: no rotation by itself");
        }
        let verifier_leeway = from.parse("signing_keys.verifier_leeway");
        let clock_skew = from.parse("signing_keys.clock_skew");

        let prefix: Option<Prefix> = from.parse("api_keys.prefix");
        let accepted_prefixes: Option<Vec<Prefix>> = from.parse_list("api_keys.accepted_prefixes");
        for (path, prefixes) in [
            ("api_keys.prefix", prefix.as_slice()),
            ("api_keys.accepted_prefixes", accepted_prefixes.as_deref().unwrap_or_default()),
        ] {
            if prefixes.contains(&Prefix::portal_session()) {
                from.fault(path, format_args!("{} is kept for portal sessions", Prefix::portal_session()));
            }
        }
        let max_lifetime = from.optional("api_keys.max_lifetime");
        let owner_types = from.parse_list("api_keys.owner_types");
        let end_with_creator = from.get("api_keys.end_with_creator");
        let imported = from.get("api_keys.imported");

        let status_ttl: Option<Span> = from.parse("status_lists.ttl");
        if status_ttl.is_some_and(|span| !(1..=24 * 3600).contains(&span.as_secs())) {
            from.fault("status_lists.ttl", "must be from 1s to 24h");
        }

        let allowed_origins = from.parse_list("portal.allowed_origins");
        let portal_url: Option<Origin> = from.optional("portal.public_url");
        let session_ttl: Option<Span> = from.parse("portal.session_ttl");
        if session_ttl.is_some_and(|span| !(60..=24 * 3600).contains(&span.as_secs())) {
            from.fault("portal.session_ttl", "must be from 1m to 24h");
        }
        let choices: Option<Vec<KeyFormOption>> = from.parse_list("portal.choices");
        let choices: Option<BTreeSet<_>> = choices.map(|all| all.into_iter().collect());
        if choices
            .as_ref()
            .is_some_and(|all| all.contains(&KeyFormOption::Resources) && !all.contains(&KeyFormOption::Roles))
        {
            from.fault("portal.choices", "roles are over resources: name roles beside resources");
        }

        let max_per_user = from.within("service_clients.max_per_user", 0, 1_000_000);

        let flush_interval: Option<Span> = from.parse("usage.flush_interval");
        if flush_interval.is_some_and(|span| !(100..=3_600_000).contains(&span.millis())) {
            from.fault("usage.flush_interval", "must be from 100ms to 1h");
        }

        let per_source = from.within("brute_force.per_source", 1, 1_000_000);
        let per_credential = from.within("brute_force.per_credential", 1, 1_000_000);
        let refill: Option<Span> = from.parse("brute_force.refill");
        if refill.is_some_and(|span| span.millis() == 0) {
            from.fault("brute_force.refill", "must be longer than nothing");
        }

        let allowed_networks = from.parse_list("webhooks.allowed_networks");
        let allowed_ports = from.parse_list("webhooks.allowed_ports");
        let allow_http = from.get("webhooks.allow_http");

        let admin_key_file: Option<PathBuf> = from.optional("bootstrap.admin_key_file");
        let format: Option<String> = from.get("log.format");
        if format.as_deref().is_some_and(|format| !["human", "json"].contains(&format)) {
            from.fault("log.format", "is human or json");
        }
        let level: Option<String> = from.get("log.level");
        if let Some(text) = &level
            && tracing_subscriber::EnvFilter::try_new(text).is_err()
        {
            from.fault("log.level", "is error, warn, info, debug, trace, or directives such as info,keyswap=debug");
        }

        let read = || {
            Some(Self {
                server: Server {
                    bind: bind?,
                    public_url: public_url?,
                    admin_bind,
                    trusted_proxies: trusted_proxies?,
                    tls: certificate.zip(key).map(|(certificate, key)| Tls { certificate, key }),
                    shutdown_timeout: shutdown_timeout?,
                },
                database: Database {
                    url: SecretDatabaseUrl(url?),
                    pool_size: pool_size?,
                    connect_timeout: connect_timeout?,
                    statement_timeout: statement_timeout?,
                },
                admin_key_file: admin_key_file.or_else(|| Some(dir.as_ref()?.join("administrator.key")))?,
                keys: MasterKeySettings {
                    rollback_guard: rollback_guard.or_else(|| Some(dir.as_ref()?.join("rollback_guard")))?,
                    dir: dir?,
                    create: create?,
                },
                tokens: Tokens { default_ttl: default_ttl?, default_audience: default_audience? },
                signing_keys: SigningKeys {
                    algorithm: algorithm?,
                    timing: RotationTiming {
                        verifier_cache_ttl: verifier_cache_ttl?,
                        max_snapshot_age: replica_staleness?,
                        verifier_leeway: verifier_leeway?,
                        clock_skew: clock_skew?,
                        max_ttl: max_ttl?,
                    },
                    rotation_period,
                },
                api_keys: ApiKeys {
                    prefix: prefix?,
                    accepted_prefixes: accepted_prefixes?,
                    max_lifetime,
                    owner_types: owner_types?,
                    end_with_creator: end_with_creator?,
                    imported: imported?,
                },
                status_lists: StatusLists { ttl: status_ttl? },
                portal: Portal {
                    allowed_origins: allowed_origins?,
                    public_url: portal_url,
                    session_ttl: session_ttl?,
                    choices: choices?,
                },
                service_clients: ServiceClients { max_per_user: max_per_user? },
                usage: Usage { flush_interval: flush_interval? },
                brute_force: BruteForce { per_source: per_source?, per_credential: per_credential?, refill: refill? },
                webhooks: Webhooks {
                    allowed_networks: allowed_networks?,
                    allowed_ports: allowed_ports?,
                    allow_http: allow_http?,
                },
                log: Log { json: format? == "json", level: level? },
            })
        };
        match (from.into_faults(), read()) {
            (faults, Some(config)) if faults.is_empty() => Ok(config),
            (faults, _) => Err(Invalid(faults)),
        }
    }
}

/// Returns the identifier of the built-in audience for management permissions.
pub fn management_audience(public_url: &str) -> String {
    format!("{public_url}/v1")
}

fn validate_public_url(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        None => Some("must begin with https:// (or http:// for a trial)"),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Some("names no host"),
        Some(_) if url.ends_with('/') => Some("must not end with a slash: it stands in `iss` byte for byte"),
        Some(rest) if rest.contains(['?', '#', '@', ' ', '"', '\\', '{', '}']) || !rest.is_ascii() => {
            Some("has no query, fragment, login, spaces or braces, and only ASCII")
        }
        Some(rest) if rest.contains("//") || rest.split('/').any(|part| part == "." || part == "..") => {
            Some("has an empty part, or . or .. in its path")
        }
        Some(_) => None,
    }
}
