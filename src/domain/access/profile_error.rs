//! Errors of token profiles, by field.

use serde::Serialize;

/// An error in a token profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenProfileError {
    pub field: String,
    pub message: String,
}

impl TokenProfileError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}
