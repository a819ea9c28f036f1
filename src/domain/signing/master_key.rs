//! Master keys: states and metadata, without the cryptography.

use serde::Serialize;

use crate::domain::common::{text::text_enum, time::Timestamp};

text_enum! {
    /// State of a master key. It changes only to a later one in this list.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum MasterKeyState {
        /// The replicas load the key. Nothing is encrypted with it yet.
        Incoming = "incoming",
        /// The key encrypts all data that is written.
        Current = "current",
        /// The key encrypts nothing more, but rows may still require it.
        Retiring = "retiring",
        /// No row requires it.
        Retired = "retired",
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
