//! The signed status lists in memory.

use crate::{
    domain::common::{
        id::StatusListId,
        time::{Span, Timestamp},
    },
    service::common::{document::CachedDocument, refresh_gate::RefreshGate},
    store::Clock,
};
use arc_swap::ArcSwap;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// The lists in memory, as of the last refresh.
#[derive(Debug)]
pub struct StatusLists {
    pub(crate) view: ArcSwap<StatusListSnapshot>,
    /// One build at a time: a waiting caller finds the result of the previous build. The value is
    /// whether this replica has completed a full build. Its settings may differ from those of the
    /// replica that built last.
    pub(crate) has_completed_build: Mutex<bool>,
    /// When the last successful build of this replica began; initially, when the replica started.
    built_at: std::sync::Mutex<Instant>,
    pub(crate) gate: RefreshGate,
    /// Lets one request sign the lists that the build job has not signed in time.
    pub(crate) build_gate: RefreshGate,
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
pub(crate) struct StatusListSnapshot {
    pub(crate) lists: BTreeMap<StatusListId, Arc<ServedStatusList>>,
    /// The time of the refresh, by the monotonic clock of the process and by the database clock.
    pub(crate) seen_at: Option<(Duration, Timestamp)>,
}

/// A signed list, ready to be sent.
#[derive(Debug)]
pub struct ServedStatusList {
    pub(crate) version: i64,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub plain: CachedDocument,
    pub gzip: CachedDocument,
}

impl StatusLists {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            view: ArcSwap::default(),
            has_completed_build: Mutex::new(false),
            built_at: std::sync::Mutex::new(Instant::now()),
            gate: RefreshGate::new("refresh the stale status lists", Arc::clone(&clock)),
            build_gate: RefreshGate::new("sign the status lists again", Arc::clone(&clock)),
            clock,
        }
    }

    /// Whether the last refresh is at most `span` old.
    pub fn is_fresh(&self, span: Span) -> bool {
        self.view.load().seen_at.is_some_and(|(at, _)| self.elapsed_since(at) <= span.duration())
    }

    fn elapsed_since(&self, at: Duration) -> Duration {
        self.clock.monotonic_elapsed().saturating_sub(at)
    }

    /// The age of a list, by the database clock as of the last refresh.
    pub(crate) fn age(&self, list: &ServedStatusList) -> Duration {
        let Some((at, as_of)) = self.view.load().seen_at else { return Duration::MAX };
        // `iat` is in whole seconds.
        let since_issue = as_of.millis().saturating_sub(list.issued_at.seconds().saturating_mul(1000));
        Duration::from_millis(u64::try_from(since_issue).unwrap_or_default()) + self.elapsed_since(at)
    }

    /// The URLs of all lists.
    pub(crate) fn uris(&self, issuer: &str) -> Vec<String> {
        self.view.load().lists.keys().map(|list| list.uri(issuer)).collect()
    }

    pub(crate) fn record_build(&self, began: Instant) {
        *self.built_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Time since the last successful build of this replica began, including builds that found
    /// nothing to do.
    pub fn build_age(&self) -> Duration {
        self.built_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Seconds until the first list expires, by the database clock; negative if one has expired.
    pub fn seconds_until_first_expiry(&self) -> Option<f64> {
        let view = self.view.load();
        let ends_at = view.lists.values().map(|list| list.expires_at).min()?;
        let (seen_at, as_of) = view.seen_at?;
        let left = Duration::from_millis(ends_at.millis().abs_diff(as_of.millis())).as_secs_f64();
        Some(if ends_at < as_of { -left } else { left } - self.elapsed_since(seen_at).as_secs_f64())
    }

    /// The number of lists and their total size in bytes, compressed.
    pub fn size(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.lists.len(), view.lists.values().map(|list| list.gzip.body.len()).sum())
    }
}
