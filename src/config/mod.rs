//! Configuration. Precedence, lowest first: defaults, file, environment, `--set`. All faults are
//! reported together, each once, with the path of its setting.

mod environment;
mod faults;
pub mod findings;
pub mod guard_location;
pub mod live;
mod merge;
pub mod sections;
mod validation;
mod values;

use std::path::{Path, PathBuf};

pub use merge::DEFAULTS;

use crate::{
    config::{
        faults::Faults,
        sections::{
            AccessRecords, ApiKeys, Bootstrap, BruteForce, Log, MasterKeySettings, Portal, Quotas, Sections, Server,
            ServiceClients, SigningKeys, StatusLists, Usage,
        },
        values::SettingValues,
    },
    domain::{access::audience::Identifier, exchange::key_context::Limits, signing::rotation::RotationTiming},
    outbound::OutboundGuard,
    store::DatabaseSettings,
};

/// The settings of a process: the sections of the configuration, and the values that follow from
/// several of them. Those that a running server reloads are private: `LiveSettings` has them.
#[derive(Debug, Clone)]
pub struct Settings {
    pub server: Server,
    pub database: DatabaseSettings,
    pub keys: MasterKeySettings,
    pub access_records: AccessRecords,
    pub signing_keys: SigningKeys,
    pub api_keys: ApiKeys,
    pub status_lists: StatusLists,
    pub portal: Portal,
    /// The section `limits`. It can change: see `reloadable`.
    quotas: Quotas,
    pub service_clients: ServiceClients,
    pub usage: Usage,
    brute_force: BruteForce,
    pub webhooks: OutboundGuard,
    pub bootstrap: Bootstrap,
    pub log: Log,
    /// What every exchange is limited by. The section `limits` is `quotas`.
    pub limits: Limits,
    pub timing: RotationTiming,
    /// The built-in audience for management permissions.
    pub management_audience: Identifier,
    values: SettingValues,
}

/// All faults of a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration:\n  {}", .0.join("\n  "))]
pub struct InvalidConfiguration(pub Vec<String>);

impl Settings {
    /// Loads the configuration. Each element of `set` has the form `server.bind=0.0.0.0:80`.
    pub fn load(file: Option<&Path>, set: &[String]) -> Result<Self, InvalidConfiguration> {
        let mut faults = Faults::default();
        let read = merge::read_sections(file, set, &mut faults);
        if let Some((sections, _)) = &read {
            validation::validate(sections, &mut faults);
        }
        let settings = read.and_then(|(sections, values)| Self::new(sections, values, &mut faults));
        settings.filter(|_| faults.is_empty()).ok_or_else(|| InvalidConfiguration(faults.into_lines()))
    }

    fn new(sections: Sections, values: SettingValues, faults: &mut Faults) -> Option<Self> {
        let Sections { server, tokens, signing_keys, api_keys, .. } = &sections;
        let management_audience: Identifier = match format!("{}/v1", server.public_url).parse() {
            Ok(audience) => audience,
            Err(error) => {
                faults.require(false, &["server.public_url"], error);
                return None;
            }
        };
        let default_audience = match tokens.default_audience.clone().map_or_else(|| server.public_url.parse(), Ok) {
            Ok(audience) => audience,
            Err(error) => {
                faults.require(false, &["server.public_url"], error);
                return None;
            }
        };
        faults.require(
            default_audience != management_audience,
            &["tokens.default_audience", "server.public_url"],
            "must not be the audience of the management API, which is never a default",
        );
        Some(Self {
            limits: Limits {
                issuer: server.public_url.clone(),
                default_audience,
                default_ttl: tokens.default_ttl,
                max_ttl: tokens.max_ttl,
                end_with_creator: api_keys.end_with_creator,
                record_bound: tokens.record_bound,
                algorithm: signing_keys.algorithm,
                max_token_size: usize::try_from(tokens.max_size).unwrap_or(usize::MAX),
            },
            timing: RotationTiming {
                verifier_cache_ttl: signing_keys.verifier_cache_ttl,
                replica_staleness: signing_keys.replica_staleness,
                verifier_leeway: signing_keys.verifier_leeway,
                clock_skew: signing_keys.clock_skew,
                max_ttl: tokens.max_ttl,
            },
            management_audience,
            values,
            server: sections.server,
            database: sections.database,
            keys: sections.keys,
            access_records: sections.access_records,
            signing_keys: sections.signing_keys,
            api_keys: sections.api_keys,
            status_lists: sections.status_lists,
            portal: sections.portal,
            quotas: sections.limits,
            service_clients: sections.service_clients,
            usage: sections.usage,
            brute_force: sections.brute_force,
            webhooks: sections.webhooks,
            bootstrap: sections.bootstrap,
            log: sections.log,
        })
    }

    /// Returns the file of the administrator's API key.
    pub fn admin_key_file(&self) -> PathBuf {
        self.bootstrap.admin_key_file.clone().unwrap_or_else(|| self.keys.dir.join("administrator.key"))
    }
}
