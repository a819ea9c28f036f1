//! The queue of waiting credential lookups, and the state of the threads that serve it.

use crate::{
    domain::{access::audience::Identifier, common::derived_id::CredentialId},
    store::{
        credentials::{
            key_context::LookupDetail, key_details::CredentialLookup, narrow_details::DetailedNarrowLookup,
            narrow_lookup::NarrowLookup,
        },
        database_lease::UnverifiedRead,
        error::StoreError,
    },
};
use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

/// The maximum number of lookups in a batch. A query of this size takes a few milliseconds.
pub(crate) const MAX_BATCH_SIZE: usize = 128;

/// The maximum number of waiting lookups. Further ones are rejected at once, because they would
/// wait longer than clients do.
pub(crate) const MAX_WAITING_LOOKUPS: usize = 2048;

/// How long an idle loader thread keeps its connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) type LookupResult = Result<UnverifiedRead<Option<FoundCredential>>, StoreError>;

/// What is looked up of a credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LookupScope {
    /// Its narrow row.
    Narrow,
    /// Its narrow row, and what validation returns of its key.
    NarrowDetails,
    /// All tables, with the audiences that exist among these.
    AllTables(LookupDetail, BTreeSet<Identifier>),
}

#[derive(Debug, Clone)]
pub(crate) enum FoundCredential {
    Narrow(Box<NarrowLookup>),
    NarrowDetails(Box<DetailedNarrowLookup>),
    AllTables(Box<CredentialLookup>),
}

/// A waiting lookup, with the channel for its result.
pub(crate) struct PendingLookup {
    pub(crate) credential: CredentialId,
    pub(crate) scope: LookupScope,
    pub(crate) result_sender: oneshot::Sender<LookupResult>,
}

/// The waiting lookups and the state of the loader threads.
#[derive(Default)]
pub(crate) struct BatchLoader {
    pub(crate) state: Mutex<LoaderState>,
    pub(crate) more: Condvar,
}

#[derive(Default)]
pub(crate) struct LoaderState {
    pub(crate) pending: Vec<PendingLookup>,
    /// The number of loader threads. `idle_threads` is the number of those that have nothing to do.
    pub(crate) threads: u32,
    pub(crate) idle_threads: u32,
    /// Loader threads no longer wait for lookups.
    pub(crate) closing: bool,
}

/// How long `close` waits for a loader thread that is busy.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

impl BatchLoader {
    /// Ignores poisoning: every modification of the state is a single call, so a panic leaves it
    /// consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LoaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next batch. Waits up to `IDLE_TIMEOUT` if there is none; after that it returns
    /// `None`, and the thread must end.
    pub(crate) fn take_batch(&self) -> Option<Vec<PendingLookup>> {
        // If the cores are busy, the requests get their turn first. Otherwise each query would
        // serve only the few lookups that arrived during the previous one.
        thread::yield_now();
        let mut state = self.lock();
        if state.pending.is_empty() {
            state.idle_threads += 1;
            (state, _) = self
                .more
                .wait_timeout_while(state, IDLE_TIMEOUT, |state| state.pending.is_empty() && !state.closing)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle_threads -= 1;
        }
        let count = state.pending.len().min(MAX_BATCH_SIZE);
        if count == 0 {
            state.threads -= 1;
            return None;
        }
        // Lookups are taken in the order of their arrival.
        let left = state.pending.split_off(count);
        Some(std::mem::replace(&mut state.pending, left))
    }

    /// Stops the loader threads, which then release their connections. Waits up to
    /// `SHUTDOWN_TIMEOUT`.
    pub(crate) async fn close(&self) {
        self.lock().closing = true;
        self.more.notify_all();
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while self.lock().threads > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes all waiting lookups, for a loader thread that cannot continue.
    pub(crate) fn abandon_pending(&self) -> Vec<PendingLookup> {
        let mut state = self.lock();
        state.threads -= 1;
        std::mem::take(&mut state.pending)
    }
}
