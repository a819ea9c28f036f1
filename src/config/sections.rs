//! The sections of the configuration.

use crate::domain::{
    access::{audience::Identifier, owner::OwnerType},
    common::{address::PortRange, origin::Origin, time::Span},
    credentials::format::Prefix,
    portal::session::KeyFormOption,
    signing::{Algorithm, rotation::RotationTiming},
};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

#[derive(Debug, Clone)]
pub struct Server {
    pub bind: SocketAddr,
    pub public_url: String,
    pub admin_bind: Option<SocketAddr>,
    pub trusted_proxies: Vec<IpNet>,
    pub tls: Option<Tls>,
    pub shutdown_timeout: Span,
}

#[derive(Debug, Clone)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Database {
    /// May contain a password. The store parses it, and it is never displayed.
    pub url: SecretDatabaseUrl,
    pub pool_size: u32,
    pub connect_timeout: Span,
    pub statement_timeout: Span,
}

/// The text of `database.url`. `Debug` does not show it.
#[derive(Clone)]
pub struct SecretDatabaseUrl(pub(crate) String);

impl SecretDatabaseUrl {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretDatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrlText(…)")
    }
}

#[derive(Debug, Clone)]
pub struct MasterKeySettings {
    pub dir: PathBuf,
    pub create: bool,
    /// The file of the rollback guard, which records the last observed state of the database.
    pub rollback_guard: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Tokens {
    pub default_ttl: Span,
    pub default_audience: Identifier,
}

#[derive(Debug, Clone)]
pub struct SigningKeys {
    pub algorithm: Algorithm,
    pub timing: RotationTiming,
    /// How long a key signs. `None`: until a manual rotation.
    pub rotation_period: Option<Span>,
}

#[derive(Debug, Clone)]
pub struct ApiKeys {
    pub prefix: Prefix,
    pub accepted_prefixes: Vec<Prefix>,
    pub max_lifetime: Option<Span>,
    pub owner_types: Vec<OwnerType>,
    pub end_with_creator: bool,
    pub imported: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct StatusLists {
    pub ttl: Span,
}

#[derive(Debug, Clone)]
pub struct Portal {
    pub allowed_origins: Vec<Origin>,
    pub public_url: Option<Origin>,
    pub session_ttl: Span,
    pub choices: BTreeSet<KeyFormOption>,
}

#[derive(Debug, Clone, Copy)]
pub struct ServiceClients {
    /// 0: no limit.
    pub max_per_user: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct BruteForce {
    pub per_source: u32,
    pub per_credential: u32,
    pub refill: Span,
}

/// Last-used times and counts of exchanges.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub flush_interval: Span,
}

#[derive(Debug, Clone)]
pub struct Webhooks {
    pub allowed_networks: Vec<IpNet>,
    pub allowed_ports: Vec<PortRange>,
    pub allow_http: bool,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub json: bool,
    pub level: String,
}
