//! A change: the only way to write. Its events are part of its transaction, in the order of commit.

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

/// What a change leaves behind. There is no other way to end one: it names its events, or says why there are none.
#[derive(Debug)]
pub struct Outcome<T> {
    value: T,
    events: Vec<NewEvent>,
}

impl<T> Outcome<T> {
    /// Something changed: `event`, and one more for each further resource.
    pub fn event(value: T, event: NewEvent) -> Self {
        Self { value, events: vec![event] }
    }

    /// As `event`, for changes that touch several resources.
    pub const fn events(value: T, events: Vec<NewEvent>) -> Self {
        Self { value, events }
    }

    /// The same, with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome { value: f(self.value), events: self.events }
    }

    /// Nothing changed that anyone but Keyswap could notice: counters, last-used times, clean-up; or nothing at all.
    pub const fn bookkeeping(value: T) -> Self {
        Self { value, events: Vec::new() }
    }
}

/// A change in progress. Reads as any connection does; writing functions ask for it by type.
pub struct Tx<'a> {
    connection: &'a mut Conn,
    entropy: &'a dyn Entropy,
    now: Timestamp,
    origin: &'a Origin,
    /// Credentials that were made and have no place in a status list yet.
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
    /// The database's clock at the start of the change.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy
    }

    /// Who makes the change, as it is written on what it makes.
    pub fn author(&self) -> ActorRef {
        self.origin.author()
    }

    /// Whether someone with a shell on the server makes the change, or Keyswap itself.
    pub const fn is_by_operator(&self) -> bool {
        matches!(self.origin.actor, Actor::Cli | Actor::System)
    }

    /// Whose idempotency keys these are: two users for whom one back end calls have nothing to do with each other.
    pub fn idempotency_actor(&self) -> String {
        let actor = self.origin.actor.to_ref().to_stored();
        match &self.origin.on_behalf_of {
            Some(user) => format!("{actor} for {user}"),
            None => actor,
        }
    }

    /// A credential that was made now: it is given its place in a status list when all else is done.
    pub(super) fn has_made(&mut self, credential: CredentialId) {
        self.placeless.push(credential);
    }

    /// # Errors
    /// No randomness.
    pub fn new_id<I: Generated>(&self) -> Result<I, NoEntropy> {
        I::generate(self.now, self.entropy)
    }
}

/// Runs `body` and appends its events, all or nothing.
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
            // After every other lock, and before the head of the trail.
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

/// The database's clock.
///
/// # Errors
/// The database does not answer.
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

/// Gives the events their place. The head row is locked here, last, and until the commit: no other change can take a number in
/// between.
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
    // Read again under the lock: times must not run against the numbers.
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
