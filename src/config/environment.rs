//! Environment variables. `KEYSWAP__DATABASE__URL` sets `database.url`, and
//! `KEYSWAP__DATABASE__URL_FILE` names a file that contains the value.

use std::{collections::BTreeMap, path::Path};

use figment::{
    Figment,
    providers::{Env, Serialized},
    value::{Dict, Value},
};
use zeroize::Zeroizing;

use crate::{config::faults::Faults, crypto::secret_file::read_secret};

const PREFIX: &str = "KEYSWAP__";
const FILE_SUFFIX: &str = "_file";

/// Returns the name of the variable that sets the setting `path`.
pub fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// Returns the names of the files of a section's settings, such as `url_file` for `url`.
pub fn file_names(section: &Dict) -> impl Iterator<Item = String> {
    let settings = section.iter().filter(|(_, default)| default.as_dict().is_none());
    settings.map(|(name, _)| format!("{name}{FILE_SUFFIX}"))
}

/// Merges the variables into `sources`. `known` are the settings with their defaults.
pub fn merge(sources: Figment, known: &Dict, faults: &mut Faults) -> Figment {
    let variables = Env::prefixed(PREFIX).split("__");
    let given: BTreeMap<String, String> =
        variables.iter().map(|(path, value)| (path.as_str().to_owned(), value)).collect();
    let files: BTreeMap<&str, &str> =
        given.iter().filter_map(|(path, file)| Some((find_setting_of_file(path, known)?, file.as_str()))).collect();
    let names: Vec<String> = files.keys().map(|setting| format!("{setting}{FILE_SUFFIX}")).collect();
    let is_value = move |path: &str| !names.iter().any(|name| path.eq_ignore_ascii_case(name));
    let mut sources = sources.merge(variables.filter(move |path| is_value(path.as_str())));
    for (setting, file) in files {
        let variable = variable_of(&format!("{setting}{FILE_SUFFIX}"));
        if given.contains_key(setting) {
            faults
                .add(setting, format_args!("{} and {variable} are both set; remove one of them", variable_of(setting)));
            continue;
        }
        match read_value(file) {
            Ok(text) => {
                faults.hide_value(setting, &variable);
                // Like the value of a variable, `true` is a boolean, `8` a number, and other text a
                // string.
                let value = text.parse().unwrap_or_else(|_| Value::from(text.as_str()));
                sources = sources.merge(Serialized::global(setting, value));
            }
            Err(fault) => faults.add(&variable, fault),
        }
    }
    sources
}

/// Returns `database.url` for `database.url_file`. Returns `None` for `bootstrap.admin_key_file`,
/// which is a setting itself.
fn find_setting_of_file<'a>(path: &'a str, known: &Dict) -> Option<&'a str> {
    let setting = path.strip_suffix(FILE_SUFFIX)?;
    let (section, name) = setting.split_once('.')?;
    let section = known.get(section)?.as_dict()?;
    let is_setting = section.contains_key(&format!("{name}{FILE_SUFFIX}"));
    (section.contains_key(name) && !is_setting).then_some(setting)
}

/// Returns the content of the file without the newline at its end.
fn read_value(file: &str) -> Result<Zeroizing<String>, String> {
    if file.is_empty() {
        return Err("is empty; give the path of a file, or remove the variable".to_owned());
    }
    let text = read_secret(Path::new(file)).map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let value = line.strip_suffix('\r').unwrap_or(line);
    if value.trim().is_empty() {
        return Err(format!("{file} is empty; write the value to it"));
    }
    Ok(Zeroizing::new(value.to_owned()))
}
