//! Master keys: where each stands, without the cryptography.

use std::str::FromStr;

use serde::Serialize;

use super::{signing::UnknownState, time::Timestamp};

/// Where a master key stands in its life. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterKeyState {
    /// Replicas get to know it; nothing is sealed with it yet.
    Incoming,
    /// Seals what is written.
    Current,
    /// Seals nothing more, and rows may still need it.
    Retiring,
    /// No row needs it.
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
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A master key as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MasterKeyInfo {
    pub version: i32,
    pub fingerprint: String,
    pub state: MasterKeyState,
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
}
