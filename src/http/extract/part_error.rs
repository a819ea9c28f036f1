//! The error of a part of a JSON document.

use std::fmt;

use serde::de::{self, Unexpected, value};

/// Why a value cannot be deserialized. The messages quote values.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("missing field `{0}`")]
    Missing(&'static str),
    #[error("duplicate field `{0}`")]
    Repeated(&'static str),
    #[error("{message}")]
    Unknown {
        name: String,
        message: String,
        /// The names that the object may have.
        accepted: &'static [&'static str],
        /// Whether the path of the error ends with the member. It ends with the object if serde has
        /// buffered it.
        is_in_path: bool,
    },
    #[error("{0}")]
    Invalid(String),
}

impl de::Error for PartError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Invalid(message.to_string())
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        if unexpected == Unexpected::Unit {
            // As `serde_json` writes it.
            return Self::custom(format_args!("invalid type: null, expected {expected}"));
        }
        Self::custom(format_args!("invalid type: {unexpected}, expected {expected}"))
    }
    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        let message = value::Error::unknown_field(name, expected).to_string();
        Self::Unknown { name: name.to_owned(), message, accepted: expected, is_in_path: false }
    }
    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }
    fn duplicate_field(name: &'static str) -> Self {
        Self::Repeated(name)
    }
}
