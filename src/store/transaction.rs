//! Changes: write transactions, the only way to write. The events of a change are part of its
//! transaction and are numbered in commit order.

use std::{
    collections::BTreeSet,
    fmt,
    ops::{Deref, DerefMut},
};

use diesel::RunQueryDsl;

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            entropy::{Entropy, EntropyUnavailable},
            id::GeneratedId,
            time::Timestamp,
        },
        events::{Actor, ActorRef, NewEvent, Origin},
    },
    store::{
        dialect,
        error::StoreError,
        lock::Lock,
        pool::{Conn, keyswap_now},
    },
};

/// The result of a change and its events. A change without an event names its reason.
#[derive(Debug)]
pub struct Outcome<T> {
    value: T,
    events: Vec<NewEvent>,
}

/// Why a change appends no event to the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEvent {
    /// Nothing was changed.
    Unchanged,
    /// An earlier change has the same effect and is recorded.
    AlreadyRecorded,
    /// Only counters and last-used times were changed.
    Counter,
    /// Only the delivery log of a webhook was changed.
    DeliveryLog,
    /// Only data was changed by which the replicas cooperate, or that they derive from other data.
    InternalState,
    /// Only rows were deleted that nothing needs any more.
    Cleanup,
}

impl<T> Outcome<T> {
    /// Creates the outcome of a change that is recorded by one event.
    pub fn event(value: T, event: NewEvent) -> Self {
        Self { value, events: vec![event] }
    }

    /// Creates the outcome of a change to several resources, with one event for each.
    pub fn events(value: T, events: Vec<NewEvent>) -> Self {
        debug_assert!(!events.is_empty(), "a change without an event names its reason");
        Self { value, events }
    }

    /// Like `events`, for a change that may turn out to need no event, for the reason given.
    pub const fn events_unless(_reason: NoEvent, value: T, events: Vec<NewEvent>) -> Self {
        Self { value, events }
    }

    /// Replaces the value and keeps the events.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        Outcome { value: f(self.value), events: self.events }
    }

    /// Creates the outcome of a change that needs no event, for the reason given.
    pub const fn without_event(value: T, _reason: NoEvent) -> Self {
        Self { value, events: Vec::new() }
    }

    pub(super) fn into_parts(self) -> (T, Vec<NewEvent>) {
        (self.value, self.events)
    }
}

/// A change in progress. It dereferences to the connection for reads; functions that write take a
/// `Tx`.
pub struct Tx<'a> {
    pub(super) connection: &'a mut Conn,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) now: Timestamp,
    pub(super) origin: &'a Origin,
    /// Credentials that this change has created and that have no status list index yet.
    pub(super) unallocated: Vec<CredentialId>,
    /// The advisory locks that this change holds.
    pub(super) locks: BTreeSet<Lock>,
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
    pub fn creator(&self) -> ActorRef {
        self.origin.creator()
    }

    /// Returns whether the change is made on the command line of the server or by Keyswap itself.
    pub const fn is_by_operator(&self) -> bool {
        matches!(self.origin.actor, Actor::Operator | Actor::System)
    }

    /// The scope of idempotency keys. It includes the user on whose behalf a back end acts, so that
    /// the keys of two users do not collide.
    pub fn idempotency_scope(&self) -> String {
        let actor = self.origin.actor.to_ref().to_stored();
        match &self.origin.on_behalf_of {
            Some(user) => format!("{actor} for {user}"),
            None => actor,
        }
    }

    /// Waits for an advisory lock, and holds it until the end of the change.
    pub fn lock(&mut self, lock: Lock) -> Result<(), StoreError> {
        if self.is_new_lock(lock)? {
            dialect::lock(self.connection, lock.id())?;
            self.locks.insert(lock);
        }
        Ok(())
    }

    /// Takes an advisory lock if no other change holds it, and returns whether it did.
    pub fn try_lock(&mut self, lock: Lock) -> Result<bool, StoreError> {
        if self.is_new_lock(lock)? {
            if !dialect::try_lock(self.connection, lock.id())? {
                return Ok(false);
            }
            self.locks.insert(lock);
        }
        Ok(true)
    }

    /// Returns whether the change does not hold the lock yet. Fails if it holds a later one: two
    /// changes that take the same locks in different orders can wait for each other.
    fn is_new_lock(&self, lock: Lock) -> Result<bool, StoreError> {
        match self.locks.last() {
            Some(last) if *last > lock && !self.locks.contains(&lock) => {
                Err(StoreError::LockOrder { requested: lock, held: *last })
            }
            _ => Ok(!self.locks.contains(&lock)),
        }
    }

    /// Registers a new credential. It receives its status list index at the end of the change.
    pub(crate) fn register_new_credential(&mut self, credential: CredentialId) {
        self.unallocated.push(credential);
    }

    pub fn generate_id<I: GeneratedId>(&self) -> Result<I, EntropyUnavailable> {
        I::generate(self.now, self.entropy)
    }
}

/// Returns the time of the database, which advances during a transaction.
pub fn now(connection: &mut Conn) -> Result<Timestamp, StoreError> {
    Ok(diesel::select(keyswap_now()).get_result(connection)?)
}
