//! Changes: write transactions, the only way to write. The events of a change are part of its
//! transaction and are numbered in commit order.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use diesel::{Connection as _, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl};

use crate::domain::{
    entropy::{Entropy, NoEntropy},
    event::{Actor, ActorRef, Digest, Event, NewEvent, Origin},
    id::{CredentialId, EventId, Generated},
    time::Timestamp,
};

use super::{
    connection::{Conn, keyswap_now},
    dialect,
    error::StoreError,
    events,
    schema::event_head,
    status_lists,
};

/// The result of a change and its events. A change without events is declared with `bookkeeping`.
#[derive(Debug)]
pub struct Outcome<T> {
    value: T,
    events: Vec<NewEvent>,
}

impl<T> Outcome<T> {
    /// Creates the outcome of a change that is recorded by one event.
    pub fn event(value: T, event: NewEvent) -> Self {
        Self { value, events: vec![event] }
    }

    /// Creates the outcome of a change to several resources, with one event for each.
    pub const fn events(value: T, events: Vec<NewEvent>) -> Self {
        Self { value, events }
    }

    /// Replaces the value and keeps the events.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome { value: f(self.value), events: self.events }
    }

    /// Creates an outcome without events: nothing was written, or only internal data such as
    /// counters, last-used times and the deletion of expired rows.
    pub const fn bookkeeping(value: T) -> Self {
        Self { value, events: Vec::new() }
    }
}

/// A change in progress. It dereferences to the connection for reads; functions that write take a
/// `Tx`.
pub struct Tx<'a> {
    connection: &'a mut Conn,
    entropy: &'a dyn Entropy,
    now: Timestamp,
    origin: &'a Origin,
    /// Credentials that this change has created and that have no status list index yet.
    placeless: Vec<CredentialId>,
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx(at {})", self.now)
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.connection
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.connection
    }
}

impl Tx<'_> {
    /// The time of the database at the start of the change.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy
    }

    /// The creator to record on the objects that this change creates.
    pub fn author(&self) -> ActorRef {
        self.origin.author()
    }

    /// Returns whether the change is made on the command line of the server or by Keyswap itself.
    pub const fn is_by_operator(&self) -> bool {
        matches!(self.origin.actor, Actor::Cli | Actor::System)
    }

    /// The scope of idempotency keys. It includes the user on whose behalf a back end acts, so that
    /// the keys of two users do not collide.
    pub fn idempotency_actor(&self) -> String {
        let actor = self.origin.actor.to_ref().to_stored();
        match &self.origin.on_behalf_of {
            Some(user) => format!("{actor} for {user}"),
            None => actor,
        }
    }

    /// Registers a new credential. It receives its status list index at the end of the change.
    pub(super) fn has_made(&mut self, credential: CredentialId) {
        self.placeless.push(credential);
    }

    pub fn new_id<I: Generated>(&self) -> Result<I, NoEntropy> {
        I::generate(self.now, self.entropy)
    }
}

/// Runs `body` and appends its events in one transaction.
pub(super) fn run<T, E: From<StoreError>>(
    connection: &mut Conn,
    entropy: &dyn Entropy,
    digest: Digest,
    origin: &Origin,
    body: impl FnOnce(&mut Tx<'_>) -> Result<Outcome<T>, E>,
) -> Result<T, E> {
    connection
        .transaction(|connection| {
            dialect::begin_change(connection).map_err(|error| Failed::Body(E::from(error)))?;
            let now = now(connection).map_err(|error| Failed::Body(E::from(error)))?;
            let mut tx = Tx { connection, entropy, now, origin, placeless: Vec::new() };
            let outcome = body(&mut tx).map_err(Failed::Body)?;
            // Indexes are assigned after all other locks are taken and before the chain head is
            // locked.
            let placeless = std::mem::take(&mut tx.placeless);
            status_lists::give_places(&mut tx, &placeless).map_err(|error| Failed::Body(E::from(error)))?;
            append(&mut tx, digest, outcome.events).map_err(|error| Failed::Body(E::from(error)))?;
            Ok(outcome.value)
        })
        .map_err(|failed| match failed {
            Failed::Body(error) => error,
            Failed::Transaction(error) => E::from(error.into()),
        })
}

/// Returns the time of the database, which advances during a transaction.
pub fn now(connection: &mut Conn) -> Result<Timestamp, StoreError> {
    let millis = diesel::select(keyswap_now()).get_result(connection)?;
    Ok(Timestamp::from_millis(millis))
}

enum Failed<E> {
    Body(E),
    Transaction(diesel::result::Error),
}

impl<E> From<diesel::result::Error> for Failed<E> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Transaction(error)
    }
}

/// Numbers, links and inserts the events. The chain head is locked last and until the commit, so
/// that event numbers follow the commit order.
fn append(tx: &mut Tx<'_>, digest: Digest, new: Vec<NewEvent>) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(new.len()).map_err(|_| StoreError::Corrupt("too many events".to_owned()))?;
    let head = event_head::table.find(1);
    diesel::update(head).set(event_head::seq.eq(event_head::seq + count)).execute(&mut **tx)?;
    let (last, mut hash): (i64, String) = head
        .select((event_head::seq, event_head::hash))
        .first(&mut **tx)
        .optional()?
        .ok_or_else(|| StoreError::Corrupt("the event head is gone".to_owned()))?;
    // The clock is read again under the lock, so that the times of events follow their numbers.
    let at = now(tx)?;
    let mut appended = Vec::with_capacity(new.len());
    for (seq, new) in (last - count + 1..).zip(new) {
        let event = Event {
            id: EventId::generate(at, tx.entropy)?,
            seq,
            kind: new.kind.as_str().to_owned(),
            at,
            actor: tx.origin.actor.to_ref(),
            on_behalf_of: tx.origin.on_behalf_of.as_ref().map(ToString::to_string),
            subject: ActorRef { kind: new.kind.subject_kind().to_owned(), id: Some(new.subject_id) },
            organization_id: new.organization.map(|id| id.to_string()),
            cause: new.cause.map(str::to_owned),
            request_id: tx.origin.request_id.clone(),
            address: tx.origin.address.clone(),
            data: new.data,
            prev_hash: hash,
        };
        hash = event.hash(digest).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        appended.push(event);
    }
    events::insert(tx, &appended)?;
    diesel::update(head).set(event_head::hash.eq(hash)).execute(&mut **tx)?;
    Ok(())
}
