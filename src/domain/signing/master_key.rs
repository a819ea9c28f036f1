//! Master keys: states and metadata, without the cryptography.

use serde::Serialize;

use crate::domain::{
    common::{text_enum::impl_text_enum, time::Timestamp},
    signing::UnknownKeyState,
};

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

impl_text_enum!(MasterKeyState, UnknownKeyState:
    Incoming = "incoming", Current = "current", Retiring = "retiring", Retired = "retired");

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
