//! The sections of the configuration. `config/default.toml` describes their settings. The sections
//! `database` and `webhooks` are declared by the layers that use them.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use crate::{
    config::guard_location::GuardLocation,
    domain::{
        access::{audience::Identifier, owner::OwnerType, resource_template::ResourceTemplate},
        common::{address::deserialize_networks, origin::Origin, time::Span},
        credentials::format::Prefix,
        portal::session::KeyFormOption,
        signing::Algorithm,
    },
    outbound::OutboundGuard,
    store::DatabaseSettings,
};

/// The sections as they are written.
#[derive(Debug, Deserialize)]
pub struct Sections {
    pub server: Server,
    pub database: DatabaseSettings,
    pub keys: MasterKeySettings,
    pub tokens: Tokens,
    pub access_records: AccessRecords,
    pub signing_keys: SigningKeys,
    pub api_keys: ApiKeys,
    pub status_lists: StatusLists,
    pub portal: Portal,
    pub limits: Quotas,
    pub service_clients: ServiceClients,
    pub usage: Usage,
    pub brute_force: BruteForce,
    pub webhooks: OutboundGuard,
    pub bootstrap: Bootstrap,
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub bind: SocketAddr,
    pub public_url: String,
    pub admin_bind: Option<SocketAddr>,
    #[serde(deserialize_with = "deserialize_networks")]
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) forwarded_header: ForwardedHeader,
    pub max_connections: u32,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub drain_delay: Span,
    pub shutdown_timeout: Span,
}

/// The header in which trusted proxies pass the client address on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ForwardedHeader {
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// RFC 7239.
    #[serde(rename = "forwarded")]
    Forwarded,
}

impl ForwardedHeader {
    /// Returns the name of the header in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct MasterKeySettings {
    pub dir: PathBuf,
    pub create: bool,
    rollback_guard: Option<PathBuf>,
}

impl MasterKeySettings {
    /// Returns the file of the rollback guard, which records the last observed state of the
    /// database.
    pub fn rollback_guard(&self) -> PathBuf {
        self.rollback_guard_location().file
    }

    pub fn rollback_guard_location(&self) -> GuardLocation {
        GuardLocation::find(self.rollback_guard.as_deref(), &self.dir)
    }
}

#[derive(Debug, Deserialize)]
pub struct Tokens {
    pub default_ttl: Span,
    pub max_ttl: Span,
    pub default_audience: Option<Identifier>,
    /// Whether every token for a service has `authorization_details` instead of a scope.
    pub record_bound: bool,
    /// Maximum size of a token in bytes.
    pub max_size: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct AccessRecords {
    /// Resources that users may grant without a record that grants them.
    pub user_resources: Vec<ResourceTemplate>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct SigningKeys {
    pub algorithm: Algorithm,
    /// `None` disables automatic rotation.
    pub rotation_period: Option<Span>,
    pub verifier_cache_ttl: Span,
    pub replica_staleness: Span,
    pub verifier_leeway: Span,
    pub clock_skew: Span,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ApiKeys {
    pub prefix: Prefix,
    pub accepted_prefixes: Vec<Prefix>,
    pub max_lifetime: Option<Span>,
    /// Owner types whose keys can be created.
    pub owner_types: BTreeSet<OwnerType>,
    pub end_with_creator: bool,
    /// Whether imported keys are accepted.
    pub imported: bool,
}

impl ApiKeys {
    /// Returns the prefixes of native API keys, the current one first.
    pub fn native_key_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        std::iter::once(&self.prefix).chain(&self.accepted_prefixes)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct StatusLists {
    pub ttl: Span,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Portal {
    pub(super) allowed_origins: Vec<Origin>,
    pub public_url: Option<Origin>,
    pub session_ttl: Span,
    pub choices: BTreeSet<KeyFormOption>,
}

/// The section `limits`. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Quotas {
    pub keys_per_owner: u32,
    pub keys_per_organization: u32,
    pub sessions_per_user: u32,
    /// Per minute.
    pub changes_per_owner: u32,
    /// Per minute.
    pub changes_per_organization: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ServiceClients {
    /// 0 means no limit.
    pub max_per_user: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Usage {
    pub flush_interval: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BruteForce {
    pub per_source: u32,
    pub per_credential: u32,
    pub refill: Span,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Bootstrap {
    pub admin_key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Human,
    Json,
}
