//! Batch loader for credential lookups. All lookups that arrive while a query runs are combined
//! into the next query. Each result is read after its lookup was requested, so a key that was
//! revoked before is never reported as in force (invariant 2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep},
};

use crate::domain::{audience::Identifier, id::CredentialId};

use super::{
    Line,
    connection::{Pooled, is_broken},
    dialect,
    error::StoreError,
    facts::{self, Loaded, OfEach},
    validation::{self, Whole},
};

/// The maximum number of lookups in a batch. A query of this size takes a few milliseconds.
const AT_ONCE: usize = 128;
/// The maximum number of loader threads, each with a connection of its own. A second thread starts
/// only if one batch cannot hold all waiting lookups.
pub(super) const GATHERERS: u32 = 2;
/// The maximum number of waiting lookups. Further ones are rejected at once, because they would
/// wait longer than clients do.
const MOST: usize = 2048;
/// How long an idle loader thread keeps its connection.
const LINGER: Duration = Duration::from_millis(500);

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

type Answer = Result<Option<Found>, StoreError>;

/// A waiting lookup, with the channel for its result.
struct Question {
    credential: CredentialId,
    targets: BTreeSet<Identifier>,
    wants: Wants,
    answer: oneshot::Sender<Answer>,
}

/// The waiting lookups and the state of the loader threads.
#[derive(Default)]
pub(super) struct Gather {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Question>,
    /// The number of loader threads. `idle` is the number of those that have nothing to do.
    gatherers: u32,
    idle: u32,
    /// Loader threads no longer wait for lookups.
    closing: bool,
}

/// How long `close` waits for a loader thread that is busy.
const AT_THE_END: Duration = Duration::from_secs(1);

impl Gather {
    /// Ignores poisoning: every modification of the state is a single call, so a panic leaves it
    /// consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next batch. Waits up to `LINGER` if there is none; after that it returns `None`,
    /// and the thread must end.
    fn take(&self) -> Option<Vec<Question>> {
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
    pub(super) async fn close(&self) {
        self.lock().closing = true;
        self.more.notify_all();
        let deadline = Instant::now() + AT_THE_END;
        while self.lock().gatherers > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes all waiting lookups, for a loader thread that cannot continue.
    fn give_up(&self) -> Vec<Question> {
        let mut state = self.lock();
        state.gatherers -= 1;
        std::mem::take(&mut state.waiting)
    }
}

/// Requests a lookup. Returns `None` if too many are waiting.
pub(super) fn ask(
    line: &Arc<Line>,
    credential: CredentialId,
    targets: BTreeSet<Identifier>,
    wants: Wants,
) -> Option<Asked> {
    let (answer, answered) = oneshot::channel();
    let mut state = line.gather.lock();
    if state.waiting.len() >= MOST {
        return None;
    }
    state.waiting.push(Question { credential, targets, wants, answer });
    let must_start = state.gatherers == 0 || (state.idle == 0 && state.waiting.len() > AT_ONCE);
    if must_start && state.gatherers < GATHERERS {
        state.gatherers += 1;
        drop(state);
        let shift = Shift { line: Arc::clone(line), has_ended: false };
        tokio::task::spawn_blocking(move || shift.work());
        return Some(Asked { answered, call: None });
    }
    // The first waiting lookup wakes a thread, so the following ones need not. Beyond the size of
    // one batch, the second thread is woken too.
    let calls = state.idle > 0 && (state.waiting.len() == 1 || state.waiting.len() > AT_ONCE);
    Some(Asked { answered, call: calls.then(|| Call(Arc::clone(line))) })
}

/// A lookup that was requested.
pub(super) struct Asked {
    answered: oneshot::Receiver<Answer>,
    call: Option<Call>,
}

impl Asked {
    /// Waits for the result. Returns `None` if the loader thread stopped without one.
    pub(super) async fn answer(self) -> Option<Answer> {
        if let Some(call) = self.call {
            // The other requests of this thread ask first. Waking a loader thread for each lookup
            // would cost more than the lookup itself.
            yield_now().await;
            drop(call);
        }
        self.answered.await.ok()
    }
}

/// Wakes a loader thread when it is dropped, so that the thread is woken even if the client of the
/// first lookup has disconnected.
struct Call(Arc<Line>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.gather.more.notify_one();
    }
}

/// The lifetime of a loader thread.
struct Shift {
    line: Arc<Line>,
    has_ended: bool,
}

impl Drop for Shift {
    /// After a panic, or if the thread never started, the waiting lookups are dropped, so that
    /// their requests do not wait. The next lookup starts another thread.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.line.gather.give_up());
        }
    }
}

impl Shift {
    /// Answers lookups until there are none.
    fn work(mut self) {
        let ended = self.answer_all();
        self.has_ended = true;
        if let Err(error) = ended {
            for question in self.line.gather.give_up() {
                let _ = question.answer.send(Err(error.clone()));
            }
        }
    }

    fn answer_all(&self) -> Result<(), StoreError> {
        let connected = connect(&self.line);
        self.line.answered();
        let mut connection = connected?;
        while let Some(questions) = self.line.gather.take() {
            let answered = answer(&self.line, &mut connection, questions);
            self.line.answered();
            self.line.gathered();
            answered?;
        }
        // If this fails, the connection is lost and the pool discards it.
        let _ = dialect::prepare_for_look_ups(&mut connection, false);
        Ok(())
    }
}

fn connect(line: &Line) -> Result<Pooled, StoreError> {
    let mut connection = line.pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    dialect::prepare_for_look_ups(&mut connection, true)?;
    Ok(connection)
}

/// The waiting requests, by level of detail and audiences, then by credential. Nearly all lookups
/// are for the default audience.
type Groups = BTreeMap<(Wants, BTreeSet<Identifier>), BTreeMap<CredentialId, Vec<oneshot::Sender<Answer>>>>;

/// Answers a batch. Returns an error if the connection is lost and cannot be replaced; the waiting
/// requests have received that error.
fn answer(line: &Line, connection: &mut Pooled, questions: Vec<Question>) -> Result<(), StoreError> {
    let mut groups = Groups::new();
    for Question { credential, targets, wants, answer } in questions {
        groups.entry((wants, targets)).or_default().entry(credential).or_default().push(answer);
    }
    let mut state = Ok(());
    for ((wants, targets), group) in groups {
        let ids: Vec<_> = group.keys().cloned().collect();
        let mut found = find(connection, wants, &ids, &targets);
        if found.is_err() && is_broken(connection) {
            // The database closed the connection, for example because it was restarted.
            found = connect(line).and_then(|new| {
                *connection = new;
                find(connection, wants, &ids, &targets)
            });
            state = found.as_ref().map(|_| ()).map_err(Clone::clone);
        }
        for (credential, mut askers) in group {
            let answer = match &mut found {
                Ok(found) => found.remove(&credential).transpose(),
                Err(error) => Err(error.clone()),
            };
            let last = askers.pop();
            for asker in askers {
                let _ = asker.send(answer.clone());
            }
            // A request that no longer waits has closed its channel.
            if let Some(last) = last {
                let _ = last.send(answer);
            }
        }
    }
    state
}

fn find(
    connection: &mut Pooled,
    wants: Wants,
    ids: &[CredentialId],
    targets: &BTreeSet<Identifier>,
) -> Result<OfEach<Found>, StoreError> {
    Ok(match wants {
        Wants::Facts => facts::load_many(connection, ids, targets)?
            .into_iter()
            .map(|(id, found)| (id, found.map(|loaded| Found { loaded, whole: None })))
            .collect(),
        Wants::Whole => validation::load_many(connection, ids, targets)?
            .into_iter()
            .map(|(id, found)| (id, found.map(|(loaded, whole)| Found { loaded, whole: Some(whole) })))
            .collect(),
    })
}
