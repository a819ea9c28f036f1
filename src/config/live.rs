//! Settings that a running server applies without a restart.

use std::{path::PathBuf, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use crate::{
    config::{
        Settings,
        sections::{BruteForce, ForwardedHeader, Quotas},
    },
    domain::common::origin::Origin,
};

/// The files of the TLS certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The settings that a running server applies without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadableSettings {
    pub trusted_proxies: Vec<IpNet>,
    pub forwarded_header: ForwardedHeader,
    /// The files can be others, but TLS cannot be enabled or disabled.
    pub tls: Option<TlsFiles>,
    pub allowed_origins: Vec<Origin>,
    /// The section `limits`.
    pub quotas: Quotas,
    pub brute_force: BruteForce,
    pub log_level: String,
}

/// The names of the settings in `ReloadableSettings`. A name without a dot is a section.
const RELOADABLE: [&str; 8] = [
    "server.trusted_proxies",
    "server.forwarded_header",
    TLS_CERTIFICATE,
    TLS_KEY,
    "portal.allowed_origins",
    "limits",
    "brute_force",
    "log.level",
];
const TLS_CERTIFICATE: &str = "server.tls_certificate";
const TLS_KEY: &str = "server.tls_key";

/// The `ReloadableSettings` of a process, which all of its parts share.
#[derive(Debug, Clone)]
pub struct LiveSettings(Arc<ArcSwap<ReloadableSettings>>);

impl LiveSettings {
    pub fn new(settings: ReloadableSettings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    pub fn load(&self) -> Guard<Arc<ReloadableSettings>> {
        self.0.load()
    }

    pub fn replace(&self, settings: ReloadableSettings) {
        self.0.store(Arc::new(settings));
    }

    /// The settings of a configuration without a file.
    #[cfg(test)]
    pub(crate) fn with(set: &[&str]) -> Self {
        let set: Vec<_> = set.iter().map(|setting| (*setting).to_owned()).collect();
        Self::new(Settings::load(None, &set).unwrap().reloadable())
    }
}

impl Settings {
    /// The part of the settings that a running server applies without a restart.
    pub fn reloadable(&self) -> ReloadableSettings {
        let files = self.server.tls_certificate.clone().zip(self.server.tls_key.clone());
        ReloadableSettings {
            trusted_proxies: self.server.trusted_proxies.clone(),
            forwarded_header: self.server.forwarded_header,
            tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
            allowed_origins: self.portal.allowed_origins.clone(),
            quotas: self.quotas,
            brute_force: self.brute_force.clone(),
            log_level: self.log.level.clone(),
        }
    }

    /// The paths of the settings whose values in `new` differ and which a running server applies.
    pub fn reloadable_changes<'a>(&'a self, new: &'a Self) -> Vec<&'a str> {
        let mut paths = self.values.differences(&new.values);
        paths.retain(|path| self.is_reloadable(new, path));
        paths
    }

    /// The paths of the other settings whose values in `new` differ.
    pub fn changes_that_need_a_restart<'a>(&'a self, new: &'a Self) -> Vec<&'a str> {
        let mut paths = self.values.differences(&new.values);
        paths.retain(|path| !self.is_reloadable(new, path));
        paths
    }

    fn is_reloadable(&self, new: &Self, path: &str) -> bool {
        let section = path.split('.').next().unwrap_or_default();
        let is_listed = RELOADABLE.contains(&path) || RELOADABLE.contains(&section);
        let switches_tls = self.server.tls_certificate.is_some() != new.server.tls_certificate.is_some();
        is_listed && !(switches_tls && [TLS_CERTIFICATE, TLS_KEY].contains(&path))
    }
}

#[cfg(test)]
mod tests {
    use figment::{
        Figment,
        providers::{Format, Toml},
        value::{Dict, Value},
    };

    use crate::config::{DEFAULTS, values::SettingValues};

    use super::*;

    fn load(set: &[String]) -> Settings {
        Settings::load(None, set).unwrap()
    }

    /// Settings whose other valid value does not follow from their default, with one.
    const OTHER_VALUES: &[(&str, &str)] = &[
        ("server.bind", "127.0.0.1:9000"),
        ("server.public_url", "https://other.test"),
        ("server.admin_bind", "127.0.0.1:9001"),
        ("server.trusted_proxies", "[\"10.0.0.0/8\"]"),
        ("server.forwarded_header", "forwarded"),
        ("server.tls_certificate", "other.pem"),
        ("server.tls_key", "other.key"),
        ("database.url", "sqlite://other.db"),
        ("keys.dir", "other"),
        ("keys.rollback_guard", "other"),
        ("tokens.default_audience", "other"),
        ("access_records.user_resources", "[\"/users/{user}/*\"]"),
        ("signing_keys.algorithm", "EdDSA"),
        ("api_keys.prefix", "other"),
        ("api_keys.accepted_prefixes", "[\"other\"]"),
        ("api_keys.max_lifetime", "90d"),
        ("api_keys.owner_types", "[\"user\"]"),
        ("portal.allowed_origins", "[\"https://other.test\"]"),
        ("portal.public_url", "https://other.test"),
        ("portal.choices", "[\"roles\"]"),
        ("webhooks.allowed_networks", "[\"10.1.2.0/24\"]"),
        ("webhooks.allowed_ports", "[\"8443\"]"),
        ("bootstrap.admin_key_file", "other"),
        ("log.format", "json"),
        ("log.level", "debug"),
    ];

    /// Another valid value: of a switch, a number, or a duration.
    fn other_value(path: &str, default: &Value) -> String {
        if let Some((_, other)) = OTHER_VALUES.iter().find(|(known, _)| *known == path) {
            return (*other).to_owned();
        }
        let text = default.as_str().unwrap_or_default();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match (default.to_bool(), default.to_i128(), text[..digits].parse::<u32>()) {
            (Some(switch), ..) => (!switch).to_string(),
            (_, Some(number), _) => (number + 1).to_string(),
            (.., Ok(count)) => format!("{}{}", count + 1, &text[digits..]),
            (.., Err(_)) => panic!("{path}: add a value other than {text:?} to OTHER_VALUES"),
        }
    }

    /// Settings that are needed for another value of `path`, whether it is given or not.
    fn required_settings(path: &str) -> Vec<String> {
        let tls = ["server.public_url=https://a.test", "server.tls_certificate=a.pem", "server.tls_key=a.key"];
        if path.starts_with("server.tls_") { tls.map(str::to_owned).to_vec() } else { Vec::new() }
    }

    #[test]
    fn every_setting_is_reloadable_or_reported() {
        let defaults: Dict = Figment::from(Toml::string(DEFAULTS)).extract().unwrap();
        let mut reloadable = Vec::new();
        for (path, default) in SettingValues::of(&defaults).iter() {
            let before = load(&required_settings(path));
            let mut set = required_settings(path);
            set.push(format!("{path}={}", other_value(path, default)));
            let after = load(&set);
            let (applied, rest) = (before.reloadable_changes(&after), before.changes_that_need_a_restart(&after));
            assert_eq!([applied.as_slice(), rest.as_slice()].concat(), [path.as_str()]);
            assert_eq!(before.reloadable() != after.reloadable(), rest.is_empty(), "{path}");
            reloadable.extend(applied.into_iter().map(str::to_owned));
        }
        for name in RELOADABLE {
            let is_member = |path: &String| path == name || path.starts_with(&format!("{name}."));
            assert!(reloadable.iter().any(is_member), "{name} is no setting");
        }
    }

    #[test]
    fn tls_cannot_be_switched() {
        let plain = load(&["server.public_url=https://a.test".to_owned()]);
        let encrypted = load(&required_settings("server.tls_key"));
        let expected = [TLS_CERTIFICATE, TLS_KEY];
        assert_eq!(plain.changes_that_need_a_restart(&encrypted), expected);
        assert_eq!(encrypted.changes_that_need_a_restart(&plain), expected);
        assert!(plain.reloadable_changes(&encrypted).is_empty());
    }
}
