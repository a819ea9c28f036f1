//! The values of all settings, to find what a new configuration changes.

use std::{collections::BTreeMap, fmt, sync::Arc};

use figment::value::{Dict, Value};

/// The value of each setting that has one, by its path. `Debug` omits them, because some contain a
/// password.
#[derive(Clone)]
pub(super) struct SettingValues(Arc<BTreeMap<String, Value>>);

impl fmt::Debug for SettingValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettingValues")
    }
}

impl SettingValues {
    pub(super) fn of(sections: &Dict) -> Self {
        let members = |(section, members): (&String, &Value)| {
            let members = members.as_dict().cloned().unwrap_or_default();
            let section = section.clone();
            members.into_iter().map(move |(name, value)| (format!("{section}.{name}"), value))
        };
        Self(Arc::new(sections.iter().flat_map(members).collect()))
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// The paths whose values differ, in order.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut paths: Vec<_> = self.0.keys().chain(other.0.keys()).map(String::as_str).collect();
        paths.retain(|path| self.0.get(*path) != other.0.get(*path));
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}
