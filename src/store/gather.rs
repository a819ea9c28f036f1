//! Look-ups gathered: all credentials that are asked for while a query is under way are asked for together by the next one. Each answer is
//! exact, since it was read after its question was asked: a key that was revoked before is never found in force (design rule 2).

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

/// How many credentials one query asks for at most: its answer is there in a few milliseconds.
const AT_ONCE: usize = 128;
/// How many ask at the same time at most, each on a connection of its own: another one starts when one cannot take all that wait.
pub(super) const GATHERERS: u32 = 2;
/// How many may wait. Who comes then is told at once: they would wait for longer than clients do.
const MOST: usize = 2048;
/// How long a gatherer that has nothing to do keeps its thread and its connection.
const LINGER: Duration = Duration::from_millis(500);

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// What a grant follows from.
    Facts,
    /// And what is shown to whoever validates a key.
    Whole,
}

/// What there is to say of a credential.
#[derive(Debug, Clone)]
pub struct Found {
    pub loaded: Loaded,
    /// Where it was wanted.
    pub whole: Option<Whole>,
}

type Answer = Result<Option<Found>, StoreError>;

/// A credential that is asked for, and who waits for the answer.
struct Question {
    credential: CredentialId,
    targets: BTreeSet<Identifier>,
    wants: Wants,
    answer: oneshot::Sender<Answer>,
}

/// The questions that wait, and those who take them.
#[derive(Default)]
pub(super) struct Gather {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Question>,
    /// How many gatherers there are, and how many of them have nothing to do.
    gatherers: u32,
    idle: u32,
    /// No gatherer waits for more.
    closing: bool,
}

/// How long the end waits for a gatherer that is at work.
const AT_THE_END: Duration = Duration::from_secs(1);

impl Gather {
    /// A panic while the lock was held leaves the state whole: every operation on it is one call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what waits, and waits a while for something to come; nothing: the gatherer is let go.
    fn take(&self) -> Option<Vec<Question>> {
        // Where the cores are busy, those who ask have their turn first: else each query would answer the few that came while the last one ran.
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
        // Who has waited longest comes first.
        let left = state.waiting.split_off(count);
        Some(std::mem::replace(&mut state.waiting, left))
    }

    /// Lets the gatherers go, and their connections with them.
    pub(super) async fn close(&self) {
        self.lock().closing = true;
        self.more.notify_all();
        let deadline = Instant::now() + AT_THE_END;
        while self.lock().gatherers > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes everything that waits, for a gatherer that cannot go on.
    fn give_up(&self) -> Vec<Question> {
        let mut state = self.lock();
        state.gatherers -= 1;
        std::mem::take(&mut state.waiting)
    }
}

/// Asks for a credential; nothing when too many wait.
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
    // Who comes second finds that the first has called, or is about to; past what one gatherer takes the other is called as well.
    let calls = state.idle > 0 && (state.waiting.len() == 1 || state.waiting.len() > AT_ONCE);
    Some(Asked { answered, call: calls.then(|| Call(Arc::clone(line))) })
}

/// A question on its way.
pub(super) struct Asked {
    answered: oneshot::Receiver<Answer>,
    call: Option<Call>,
}

impl Asked {
    /// Waits for the answer. Nothing comes from a gatherer that gave up.
    pub(super) async fn answer(self) -> Option<Answer> {
        if let Some(call) = self.call {
            // All other requests that this thread has at hand ask first: to be woken for each would cost more than its answer.
            yield_now().await;
            drop(call);
        }
        self.answered.await.ok()
    }
}

/// The first of those who wait owes the gatherers a call, even where the client has gone meanwhile.
struct Call(Arc<Line>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.gather.more.notify_one();
    }
}

/// The time of a gatherer, from its start to its end.
struct Shift {
    line: Arc<Line>,
    has_ended: bool,
}

impl Drop for Shift {
    /// It panicked, or never began: nobody must wait for it, and another one takes its place.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.line.gather.give_up());
        }
    }
}

impl Shift {
    /// Answers until nobody asks any more.
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
        // Where this fails the connection is lost, and the pool throws it away.
        let _ = dialect::prepare_for_look_ups(&mut connection, false);
        Ok(())
    }
}

fn connect(line: &Line) -> Result<Pooled, StoreError> {
    let mut connection = line.pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    dialect::prepare_for_look_ups(&mut connection, true)?;
    Ok(connection)
}

/// Those who want the same of the same audiences, by the credential they ask for. Nearly always all want the default one.
type Groups = BTreeMap<(Wants, BTreeSet<Identifier>), BTreeMap<CredentialId, Vec<oneshot::Sender<Answer>>>>;

/// # Errors
/// There is no connection any more; those who asked have heard of it.
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
            // It was closed behind our back, by a database that has been started again.
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
            // Who does not wait any more has closed the channel.
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
