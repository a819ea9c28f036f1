//! Reads settings one by one and collects their faults, so that a failed start reports all of them.

use std::{fmt::Display, str::FromStr};

use figment::{
    Figment,
    providers::{Format, Toml},
    value::{Dict, Value},
};
use serde::de::DeserializeOwned;

pub struct Reader {
    figment: Figment,
    faults: Vec<String>,
}

impl Reader {
    pub const fn new(figment: Figment) -> Self {
        Self { figment, faults: Vec::new() }
    }

    pub fn fault(&mut self, path: &str, what: impl Display) {
        self.faults.push(format!("{path}: {what}"));
    }

    pub fn into_faults(self) -> Vec<String> {
        self.faults
    }

    /// Reports every key that `defaults` does not contain.
    pub fn reject_unknown(&mut self, defaults: &str) {
        let known = Figment::from(Toml::string(defaults)).extract::<Dict>().unwrap_or_default();
        match self.figment.extract::<Dict>() {
            Ok(given) => collect_unknown_settings(&known, &given, "", &mut self.faults),
            Err(errors) => self.faults.extend(errors.into_iter().map(|error| error.to_string())),
        }
    }

    pub fn get<T: DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        match self.figment.extract_inner(path) {
            Ok(value) => Some(value),
            Err(errors) => {
                for error in errors {
                    self.faults.push(format!("{path}: {}", error.kind));
                }
                None
            }
        }
    }

    /// Reads a string and parses it.
    pub fn parse<T: FromStr>(&mut self, path: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let text: String = self.get(path)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(path, format_args!("{text:?}: {error}"));
                None
            }
        }
    }

    /// Like `parse`. An empty string is `None`.
    pub fn optional<T: FromStr>(&mut self, path: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match self.figment.extract_inner::<String>(path) {
            Ok(text) if text.is_empty() => None,
            Ok(_) | Err(_) => self.parse(path),
        }
    }

    pub fn parse_list<T: FromStr>(&mut self, path: &str) -> Option<Vec<T>>
    where
        T::Err: Display,
    {
        let texts: Vec<String> = self.get(path)?;
        let mut values = Vec::with_capacity(texts.len());
        for text in &texts {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.fault(path, format_args!("{text:?}: {error}")),
            }
        }
        Some(values)
    }

    pub fn within(&mut self, path: &str, least: u32, most: u32) -> Option<u32> {
        let value = self.get(path)?;
        if (least..=most).contains(&value) {
            Some(value)
        } else {
            self.fault(path, format_args!("must be from {least} to {most}"));
            None
        }
    }
}

fn collect_unknown_settings(known: &Dict, given: &Dict, path: &str, faults: &mut Vec<String>) {
    for (name, value) in given {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), value) {
            (None, _) => faults.push(format!("{path}: no such setting")),
            (Some(Value::Dict(_, known)), Value::Dict(_, given)) => {
                collect_unknown_settings(known, given, &path, faults)
            }
            (Some(_), _) => {}
        }
    }
}
