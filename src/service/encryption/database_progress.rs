//! State of the rollback guard: the recorded progress of the database, and the result of the
//! comparison.

use crate::{
    config::guard_location::GuardLocation,
    crypto::jwk::PublicJwk,
    domain::{common::derived_id::SigningKeyId, signing::SigningKeyState},
    store::{CommittedEvent, signing::stored_keys::StoredSigningKey},
};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The progress of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProgress {
    /// Id of the first event. A different id means a different database and not a backup of this
    /// one.
    pub database: String,
    /// The system identifier of the PostgreSQL cluster. Absent on SQLite and without the right to
    /// read it. Copies of a database in other clusters can be at the same event and continue
    /// differently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// The timeline of the PostgreSQL server, which each promotion increases. Absent like
    /// `system_id`. A former primary that continues can be at the same event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
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
    /// Hash of the event of the last acceptance that the guard file records. A running server
    /// recognizes by a change of it that an operator has decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<String>,
}

impl DatabaseProgress {
    /// Returns whether `self` includes everything that `other` includes, if both are of one
    /// history.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.database == other.database
            && self.seq >= other.seq
            && self.manifest_counter >= other.manifest_counter
            && self.keys.len() >= other.keys.len()
            && self.timeline >= other.timeline
    }

    /// Adds an event that this process has committed since.
    pub(crate) fn with_commit(self, committed: Option<&CommittedEvent>) -> Self {
        match committed {
            Some(CommittedEvent { seq, hash }) if *seq > self.seq => Self { seq: *seq, hash: hash.clone(), ..self },
            Some(_) | None => self,
        }
    }

    /// Returns whether `self` records a decision of an operator that `other` does not know.
    pub(crate) fn has_acceptance_unknown_to(&self, other: &Self) -> bool {
        self.database == other.database && self.accepted.is_some() && self.accepted != other.accepted
    }
}

impl DatabaseProgress {
    /// Returns whether both are known to be of different clusters.
    pub(crate) fn is_other_cluster(&self, other: &Self) -> bool {
        self.system_id.as_ref().zip(other.system_id.as_ref()).is_some_and(|(one, other)| one != other)
    }

    /// Returns whether `self` is known to be of an earlier timeline than `other`, of the same
    /// cluster.
    pub(crate) fn is_on_earlier_timeline(&self, other: &Self) -> bool {
        self.system_id.is_some()
            && self.system_id == other.system_id
            && self.timeline.zip(other.timeline).is_some_and(|(own, other)| own < other)
    }
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

    /// Returns the problem in a few words, without a remedy, for the public.
    pub const fn summarize_problem(&self) -> Option<&'static str> {
        match self {
            Self::Consistent => None,
            Self::FileUnavailable(_) => Some("the rollback guard cannot be read or written"),
            Self::RolledBack(_) => Some("the database was rolled back"),
            Self::Corrupt => Some("the content of the rollback guard is not valid"),
        }
    }

    /// Returns a description of the problem in one line, with the remedy.
    pub fn describe_problem(&self) -> Option<String> {
        let problem = match self {
            Self::Consistent => return None,
            Self::FileUnavailable(reason) => return Some(reason.clone()),
            Self::RolledBack(rollback) if rollback.needs_restart => {
                return Some(format!(
                    "{rollback}; nothing is signed or accepted until `keyswap restore accept --yes` is run and this server is \
                     restarted, because its rollback guard is in memory"
                ));
            }
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
    /// Whether only this process knows `recorded`, so that an acceptance takes effect when it is
    /// restarted.
    #[serde(skip)]
    pub needs_restart: bool,
}

impl fmt::Display for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recorded, actual) = (&self.recorded, &self.database);
        if actual.seq < recorded.seq {
            write!(
                f,
                "the database was rolled back: it ends with event {}, and event {} was recorded",
                actual.seq, recorded.seq
            )
        } else if actual.manifest_counter < recorded.manifest_counter {
            f.write_str(
                "the database was rolled back: signing keys are missing or in an earlier state than was recorded",
            )
        } else if let (Some(recorded), Some(actual)) = (&recorded.system_id, &actual.system_id)
            && recorded != actual
        {
            write!(
                f,
                "the database is in another PostgreSQL cluster: its system identifier is {actual}, and {recorded} was \
                 recorded"
            )
        } else if actual.is_on_earlier_timeline(recorded) {
            write!(
                f,
                "another PostgreSQL server was promoted in place of this one: it continues timeline {}, and timeline {} \
                 was recorded",
                actual.timeline.unwrap_or_default(),
                recorded.timeline.unwrap_or_default()
            )
        } else {
            write!(
                f,
                "the database was rolled back and used since: event {} differs from the recorded one",
                recorded.seq
            )
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
    pub(crate) location: GuardLocation,
    pub(crate) state: ArcSwap<GuardState>,
    /// The newest progress with which this process has seen the database agree.
    last_progress: Mutex<Option<DatabaseProgress>>,
    /// Held from a comparison until its result is applied. Otherwise a slow check, of a server that
    /// was replaced meanwhile, could replace the result of a later one.
    pub(crate) checking: tokio::sync::Mutex<()>,
}

impl RollbackGuard {
    pub fn new(location: GuardLocation) -> Self {
        Self {
            location,
            state: ArcSwap::from_pointee(GuardState::Consistent),
            last_progress: Mutex::default(),
            checking: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the result of the last comparison.
    pub fn state(&self) -> Arc<GuardState> {
        self.state.load_full()
    }

    /// States what a guard in memory does not detect. Returns `None` if the guard survives a
    /// restart.
    pub fn describe_memory_only(&self) -> Option<&'static str> {
        self.location.describe_memory_only()
    }

    pub(crate) fn last_progress(&self) -> Option<DatabaseProgress> {
        self.last_progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the progress for later comparisons, unless a concurrent check has kept more.
    pub(crate) fn keep_progress(&self, progress: DatabaseProgress) {
        let mut last = self.last_progress.lock().unwrap_or_else(PoisonError::into_inner);
        let is_older = |last: &DatabaseProgress| last.includes(&progress) && !progress.has_acceptance_unknown_to(last);
        if !last.as_ref().is_some_and(is_older) {
            *last = Some(progress);
        }
    }
}
