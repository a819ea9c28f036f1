//! Batch loader for credential lookups. All lookups that arrive while a query runs are combined
//! into the next query. Each result is read after its lookup was requested, so a key that was
//! revoked before is never reported as in force (invariant 2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{sync::oneshot, task::yield_now};

use crate::{
    domain::{access::audience::Identifier, common::derived_id::CredentialId},
    store::{
        credentials::{
            key_context::{self, OfEach},
            key_details,
        },
        dialect,
        error::StoreError,
        lookup_queue::{AT_ONCE, Answer, Found, MOST, Question, Wants},
        pool::{GATHERERS, Pooled, is_broken},
        pool_state::Line,
    },
};

/// Requests a lookup. Returns `None` if too many are waiting.
pub(crate) fn ask(
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
pub(crate) struct Asked {
    answered: oneshot::Receiver<Answer>,
    call: Option<Call>,
}

impl Asked {
    /// Waits for the result. Returns `None` if the loader thread stopped without one.
    pub(crate) async fn answer(self) -> Option<Answer> {
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
        Wants::Facts => key_context::load_many(connection, ids, targets)?
            .into_iter()
            .map(|(id, found)| (id, found.map(|loaded| Found { loaded, whole: None })))
            .collect(),
        Wants::Whole => key_details::load_many(connection, ids, targets)?
            .into_iter()
            .map(|(id, found)| (id, found.map(|(loaded, whole)| Found { loaded, whole: Some(whole) })))
            .collect(),
    })
}
