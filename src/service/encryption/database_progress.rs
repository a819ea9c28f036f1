//! State of the rollback guard: the recorded progress of the database, and the result of the
//! comparison.

use crate::{
    crypto::jwk::PublicJwk,
    domain::{common::derived_id::SigningKeyId, signing::SigningKeyState},
    store::signing::stored_keys::StoredSigningKey,
};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

/// The progress of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProgress {
    /// Id of the first event. A different id means a different database and not a backup of this
    /// one.
    pub database: String,
    /// Sequence number of the last event.
    pub seq: i64,
    /// Hash of the last event. It detects a history that has diverged after a rollback, even if it
    /// is longer.
    pub hash: String,
    /// The counter of the manifest of the signing keys. It never decreases, except by a rollback.
    pub manifest_counter: i64,
    /// All signing keys of the past and present. Published keys must remain published, and revoked
    /// keys must not return.
    #[serde(default)]
    pub keys: Vec<RecordedKey>,
}

/// A signing key as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedKey {
    pub kid: SigningKeyId,
    pub state: SigningKeyState,
    /// The public half, while the key is published.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jwk: Option<PublicJwk>,
}

impl RecordedKey {
    pub(crate) fn from_stored(key: StoredSigningKey) -> Self {
        let StoredSigningKey { info, public_jwk, .. } = key;
        let jwk = if info.state.is_published() { serde_json::from_str(&public_jwk).ok() } else { None };
        Self { kid: info.kid, state: info.state, jwk }
    }
}

/// The result of a comparison between the database and the guard file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardState {
    /// They agree, or there is no guard file yet, or it belongs to a different database.
    Consistent,
    /// The guard file could not be read or written, so a rollback might not be detected.
    FileUnavailable(String),
    /// The database is behind the guard file or has diverged from it.
    RolledBack(Box<Rollback>),
    /// The guard file is corrupt.
    Corrupt,
}

impl GuardState {
    /// Returns whether an operator must decide before anything is signed.
    pub const fn requires_decision(&self) -> bool {
        matches!(self, Self::RolledBack(_) | Self::Corrupt)
    }

    /// Returns a description of the problem in one line.
    pub fn describe_problem(&self) -> Option<String> {
        let problem = match self {
            Self::Consistent => return None,
            Self::FileUnavailable(reason) => return Some(reason.clone()),
            Self::RolledBack(rollback) => rollback.to_string(),
            Self::Corrupt => "the content of the rollback guard is not valid".to_owned(),
        };
        Some(format!("{problem}; nothing is signed or accepted until `keyswap restore accept` is run on this server"))
    }
}

/// The recorded and the actual progress of a rolled back database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollback {
    #[serde(rename = "rollback_guard")]
    pub recorded: DatabaseProgress,
    pub database: DatabaseProgress,
}

impl fmt::Display for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recorded, actual) = (&self.recorded, &self.database);
        f.write_str("the database was rolled back")?;
        if actual.seq < recorded.seq {
            write!(f, ": it ends with event {}, and event {} was recorded", actual.seq, recorded.seq)
        } else if actual.manifest_counter < recorded.manifest_counter {
            f.write_str(": signing keys are missing or in an earlier state than was recorded")
        } else {
            write!(f, " and used since: event {} differs from the recorded one", recorded.seq)
        }
    }
}

impl Rollback {
    /// Returns the keys to publish while an operator must decide. `stored` are the published keys
    /// of the database. Published keys remain published (invariant K3), and keys that are revoked
    /// in the guard file or in the database do not return. For all other keys the guard file takes
    /// precedence.
    pub fn select_published<'a>(&'a self, stored: impl Iterator<Item = &'a PublicJwk>) -> Vec<&'a PublicJwk> {
        let known: BTreeSet<_> = self.recorded.keys.iter().map(|key| &key.kid).collect();
        let is_revoked = |key: &&RecordedKey| key.state == SigningKeyState::Revoked;
        let revoked: BTreeSet<_> = self.database.keys.iter().filter(is_revoked).map(|key| &key.kid).collect();
        let recorded = self.recorded.keys.iter().filter_map(|key| key.jwk.as_ref());
        let others = stored.filter(|jwk| !known.contains(&jwk.kid));
        recorded.chain(others).filter(|jwk| !revoked.contains(&jwk.kid)).collect()
    }
}

/// The rollback guard of one replica.
#[derive(Debug)]
pub struct RollbackGuard {
    pub(crate) file: PathBuf,
    pub(crate) state: ArcSwap<GuardState>,
}

impl RollbackGuard {
    pub fn new(file: PathBuf) -> Self {
        Self { file, state: ArcSwap::from_pointee(GuardState::Consistent) }
    }

    /// Returns the result of the last comparison.
    pub fn state(&self) -> Arc<GuardState> {
        self.state.load_full()
    }
}
