//! Master keys: states and metadata, without the cryptography.

use std::str::FromStr;

use serde::Serialize;

use crate::domain::{common::time::Timestamp, signing::UnknownKeyState};

/// State of a master key. It changes only to a later one in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterKeyState {
    /// The replicas load the key. Nothing is encrypted with it yet.
    Incoming,
    /// The key encrypts all data that is written.
    Current,
    /// The key encrypts nothing more, but rows may still require it.
    Retiring,
    /// No row requires it.
    Retired,
}

impl MasterKeyState {
    pub const ALL: [Self; 4] = [Self::Incoming, Self::Current, Self::Retiring, Self::Retired];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Current => "current",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for MasterKeyState {
    type Err = UnknownKeyState;
    fn from_str(text: &str) -> Result<Self, UnknownKeyState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownKeyState)
    }
}

/// A master key as recorded in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MasterKeyInfo {
    pub version: i32,
    pub fingerprint: String,
    pub state: MasterKeyState,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
}
