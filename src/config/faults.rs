//! The faults of a configuration.

use std::{collections::BTreeMap, fmt::Display};

/// The faults that were found, each with the path of its setting.
#[derive(Default)]
pub struct Faults {
    found: Vec<(String, String)>,
    /// The settings whose values come from files and may be secrets, each with the variable that
    /// names the file.
    hidden: BTreeMap<String, String>,
}

impl Faults {
    pub fn add(&mut self, path: impl Display, what: impl Display) {
        self.found.push((path.to_string(), what.to_string()));
    }

    /// Replaces the texts of faults of the setting `path`, which may quote its value. The value is
    /// in the file that `variable` names.
    pub fn hide_value(&mut self, path: &str, variable: &str) {
        self.hidden.insert(path.to_owned(), variable.to_owned());
    }

    /// Undoes `hide_value`, for a setting that another source overrides.
    pub fn show_value(&mut self, path: &str) {
        self.hidden.remove(path);
    }

    /// Reports `what` under the first of `paths` if `is_valid` is false, unless one of the settings
    /// has a fault already.
    pub fn require(&mut self, is_valid: bool, paths: &[&str], what: impl Display) {
        if !is_valid && !self.found.iter().any(|(path, _)| paths.contains(&path.as_str())) {
            self.add(paths[0], what);
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn into_lines(self) -> Vec<String> {
        let Self { found, hidden } = self;
        let text_of = |(path, what): (String, String)| match hidden.get(&path) {
            Some(variable) => format!(
                "{path}: the value in the file that {variable} names is not valid, or contradicts another setting; it is \
                 not shown, because it may be a secret"
            ),
            None => format!("{path}: {what}"),
        };
        found.into_iter().map(text_of).collect()
    }
}
