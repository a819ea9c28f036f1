//! Merges the sources of the configuration and deserializes the sections. A faulty value is
//! replaced by its default, so that the other faults are found as well.

use std::{fs, path::Path};

use figment::{
    Figment,
    error::{Actual, Kind},
    providers::{Format, Serialized, Toml},
    value::{Dict, Value},
};

use crate::{
    config::{environment, faults::Faults, sections::Sections, values::SettingValues},
    store::DatabaseUrl,
};

/// The defaults, compiled into the program.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Returns the sections, and the values that they were read from. Returns `None` only after a
/// fault.
pub(super) fn read_sections(
    file: Option<&Path>,
    set: &[String],
    faults: &mut Faults,
) -> Option<(Sections, SettingValues)> {
    let defaults = Figment::from(Toml::string(DEFAULTS));
    let known: Dict = defaults.extract().ok()?;
    let mut sources = defaults;
    if let Some(file) = file {
        match fs::read_to_string(file) {
            Ok(text) => match Figment::from(Toml::string(&text)).extract::<Dict>() {
                Ok(_) => sources = sources.merge(Toml::string(&text)),
                Err(error) => faults.add(file.display(), without_source_line(&error.kind.to_string())),
            },
            Err(error) => faults.add(file.display(), format_args!("failed to read: {error}; check --config")),
        }
    }
    sources = environment::merge(sources, &known, faults);
    for setting in set {
        match setting.split_once('=') {
            Some((path, value)) if path.split('.').all(|name| !name.is_empty()) => {
                // Like in the environment, `true` is a boolean, `8` a number, and other text a
                // string.
                let value = value.parse().unwrap_or_else(|_| Value::from(value));
                if contains_password(path, &value) {
                    faults.add(
                        "--set database.url",
                        "contains a password, which other users of this machine can see; use a file, or the environment \
                         variable KEYSWAP__DATABASE__URL or KEYSWAP__DATABASE__URL_FILE",
                    );
                    continue;
                }
                faults.show_value(path);
                sources = sources.merge(Serialized::global(path, value));
            }
            // The value may be a password, and a text without `=` may be a value.
            other => {
                let path = other.map_or("", |(path, _)| path);
                faults.add(
                    format_args!("--set {path}").to_string().trim_end(),
                    "give PATH=VALUE, such as server.bind=127.0.0.1:9000",
                );
            }
        }
    }
    let mut given = sources.extract().map_err(|error| faults.add("configuration", error)).ok()?;
    retain_known(&known, &mut given, "", faults);
    let values = SettingValues::of(&given);
    Some((deserialize(given, &known, faults)?, values))
}

/// Returns whether a `--set` option contains the password of the database.
fn contains_password(path: &str, value: &Value) -> bool {
    let url = match path {
        "database.url" => value.as_str(),
        "database" => value.as_dict().and_then(|section| section.get("url")).and_then(Value::as_str),
        _ => None,
    };
    url.and_then(|url| url.parse::<DatabaseUrl>().ok()).is_some_and(|url| url.has_password())
}

/// Shortens an error of the TOML parser to one line, without the line of the file, which may
/// contain a password.
fn without_source_line(error: &str) -> String {
    let explanation = error.lines().skip_while(|line| !line.contains('^')).skip(1);
    error.lines().take(1).chain(explanation).collect::<Vec<_>>().join(": ")
}

/// Removes settings that do not exist and settings without a value, and replaces values of another
/// structure by their defaults.
fn retain_known(known: &Dict, given: &mut Dict, parent: &str, faults: &mut Faults) {
    given.retain(|name, value| {
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        let Some(default) = known.get(name) else {
            let parent = path.strip_suffix(name.as_str()).unwrap_or_default();
            faults.add(&path, describe_unknown(name, parent, known));
            return false;
        };
        match (default.as_dict(), value.as_dict()) {
            (Some(_), None) => faults.add(&path, format_args!("is a section; set its members, as in [{path}]")),
            (None, Some(_)) => faults.add(&path, "is a single setting and has no members"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if default.as_dict().is_some() != value.as_dict().is_some() {
            *value = default.clone();
        }
        if let (Some(known), Value::Dict(_, given)) = (default.as_dict(), &mut *value) {
            retain_known(known, given, &path, faults);
        }
        value.as_str() != Some("")
    });
}

/// States what an unknown setting of the section `known` was probably meant to be.
fn describe_unknown(name: &str, parent: &str, known: &Dict) -> String {
    let files: Vec<_> = environment::file_names(known).collect();
    match find_similar(name, known.keys().chain(&files).map(String::as_str)) {
        Some(meant) if known.contains_key(meant) => format!("unknown setting; did you mean {parent}{meant}?"),
        Some(meant) => {
            let variable = environment::variable_of(&format!("{parent}{meant}"));
            format!("unknown setting; did you mean the environment variable {variable}?")
        }
        None => "unknown setting; remove it or correct its name".to_owned(),
    }
}

fn deserialize(mut given: Dict, known: &Dict, faults: &mut Faults) -> Option<Sections> {
    loop {
        let error = match Value::from(given.clone()).deserialize() {
            Ok(sections) => return Some(sections),
            Err(error) => error,
        };
        let mut path = error.path;
        if let Kind::MissingField(name) = &error.kind {
            path.push(name.to_string());
        }
        let [section, name, ..] = path.as_slice() else {
            faults.add(path.join("."), error.kind);
            return None;
        };
        let members = given.get_mut(section).and_then(as_dict_mut)?;
        let index = path.get(2).and_then(|index| index.parse::<usize>().ok());
        let text = match (members.get(name), index) {
            (Some(Value::Array(_, values)), Some(index)) => values.get(index).and_then(Value::as_str),
            (Some(value), _) => value.as_str(),
            (None, _) => None,
        };
        // A database URL may contain a password.
        let quoted = text.filter(|_| name != "url").map(|text| format!("{text:?}: ")).unwrap_or_default();
        let default = known.get(section).and_then(Value::as_dict).and_then(|defaults| defaults.get(name));
        faults.add(format_args!("{section}.{name}"), describe(&error.kind, &quoted, default));
        match (members.get_mut(name), index) {
            (Some(Value::Array(_, values)), Some(index)) if index < values.len() => drop(values.remove(index)),
            _ => {
                let default = known.get(section)?.as_dict()?.get(name)?;
                // An empty default means that the setting has no value. A missing setting that must
                // not be empty ends the search, because it has no default.
                match members.remove(name) {
                    // Also the default is faulty.
                    Some(value) if value == *default => return None,
                    Some(_) if default.as_str() == Some("") => {}
                    None if default.as_str() == Some("") => return None,
                    Some(_) | None => drop(members.insert(name.clone(), default.clone())),
                }
            }
        }
    }
}

/// States what is wrong with a value, and what was meant or what is possible.
fn describe(kind: &Kind, quoted: &str, default: Option<&Value>) -> String {
    let is_list = matches!(default, Some(Value::Array(..)));
    if let Kind::MissingField(_) = kind {
        return "must not be empty".to_owned();
    }
    if let Kind::Message(why) = kind {
        let why = if why == "invalid socket address syntax" { GIVE_ADDRESS } else { why };
        return format!("{quoted}{why}");
    }
    if let Kind::UnknownVariant(given, possible) = kind {
        let meant = find_similar(given, possible.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        return format!("{given:?}: must be one of {}{meant}", possible.join(", "));
    }
    if let Kind::InvalidType(given, expected) = kind {
        if *expected == "socket address" {
            return GIVE_ADDRESS.to_owned();
        } else if let Actual::Str(text) = given
            && is_list
        {
            return format!("is a list; write [{text:?}]");
        } else if let Actual::Unsigned(number) = given
            && is_list
        {
            return format!("{number}: write \"{number}\"");
        }
    }
    match default.and_then(Value::as_str).filter(|example| !example.is_empty()) {
        Some(example) => format!("{kind}; the default is {example:?}"),
        None => kind.to_string(),
    }
}

const GIVE_ADDRESS: &str = "give an IP address and a port, such as 127.0.0.1:8080 or [::]:8080";

/// Returns the name that is so similar to `given` that it was probably meant.
fn find_similar<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = names.map(|name| (strsim::jaro_winkler(given, name), name)).filter(|(similarity, _)| *similarity > 0.8);
    rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

fn as_dict_mut(value: &mut Value) -> Option<&mut Dict> {
    if let Value::Dict(_, members) = value { Some(members) } else { None }
}
