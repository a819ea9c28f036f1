//! The queue of waiting credential lookups, and the state of the threads that serve it.

use crate::{
    domain::{access::audience::Identifier, common::derived_id::CredentialId},
    store::{
        credentials::{key_context::Loaded, key_details::Whole},
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
pub(crate) const AT_ONCE: usize = 128;

/// The maximum number of waiting lookups. Further ones are rejected at once, because they would
/// wait longer than clients do.
pub(crate) const MOST: usize = 2048;

/// How long an idle loader thread keeps its connection.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// The level of detail of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// The facts for a grant.
    Facts,
    /// The facts, and the data that validation returns.
    Whole,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub struct Found {
    pub loaded: Loaded,
    /// Present for `Wants::Whole`.
    pub whole: Option<Whole>,
}

pub(crate) type Answer = Result<Option<Found>, StoreError>;

/// A waiting lookup, with the channel for its result.
pub(crate) struct Question {
    pub(crate) credential: CredentialId,
    pub(crate) targets: BTreeSet<Identifier>,
    pub(crate) wants: Wants,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The waiting lookups and the state of the loader threads.
#[derive(Default)]
pub(crate) struct Gather {
    pub(crate) state: Mutex<State>,
    pub(crate) more: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) waiting: Vec<Question>,
    /// The number of loader threads. `idle` is the number of those that have nothing to do.
    pub(crate) gatherers: u32,
    pub(crate) idle: u32,
    /// Loader threads no longer wait for lookups.
    pub(crate) closing: bool,
}

/// How long `close` waits for a loader thread that is busy.
pub(crate) const AT_THE_END: Duration = Duration::from_secs(1);

impl Gather {
    /// Ignores poisoning: every modification of the state is a single call, so a panic leaves it
    /// consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next batch. Waits up to `LINGER` if there is none; after that it returns `None`,
    /// and the thread must end.
    pub(crate) fn take(&self) -> Option<Vec<Question>> {
        // If the cores are busy, the requests get their turn first. Otherwise each query would
        // serve only the few lookups that arrived during the previous one.
        thread::yield_now();
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.idle += 1;
            (state, _) = self
                .more
                .wait_timeout_while(state, LINGER, |state| state.waiting.is_empty() && !state.closing)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let count = state.waiting.len().min(AT_ONCE);
        if count == 0 {
            state.gatherers -= 1;
            return None;
        }
        // Lookups are taken in the order of their arrival.
        let left = state.waiting.split_off(count);
        Some(std::mem::replace(&mut state.waiting, left))
    }

    /// Stops the loader threads, which then release their connections. Waits up to `AT_THE_END`.
    pub(crate) async fn close(&self) {
        self.lock().closing = true;
        self.more.notify_all();
        let deadline = Instant::now() + AT_THE_END;
        while self.lock().gatherers > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes all waiting lookups, for a loader thread that cannot continue.
    pub(crate) fn give_up(&self) -> Vec<Question> {
        let mut state = self.lock();
        state.gatherers -= 1;
        std::mem::take(&mut state.waiting)
    }
}
