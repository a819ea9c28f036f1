//! Changes: write transactions, the only way to write. The events of a change are part of its
//! transaction and are numbered in commit order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use diesel::RunQueryDsl;
use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{
        common::{
            derived_id::CredentialId,
            encoding::EncodedRow,
            encryption::{Encrypted, EncryptionError, Plaintext, RowCipher},
            entropy::{Entropy, EntropyUnavailable},
            id::{GeneratedId, KeyId},
            time::Timestamp,
        },
        events::{Actor, ActorRef, NewEvent, Origin},
    },
    store::{
        dialect,
        error::StoreError,
        lock::{Lock, ROW_LOCK_ORDER},
        pending_changes::{KeyChanges, ManifestChange},
        pool::{Conn, keyswap_now},
        row_encryption::RowEncryption,
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
    /// The change of the signing keys, once it has begun.
    pub(super) signing_keys: Option<ManifestChange>,
    /// The keys whose credentials are encrypted again at the end.
    pub(super) keys: KeyChanges,
    /// The versions of authenticated rows after this change, by the subjects of their events, which
    /// record them. A row that was deleted has the version after its last one.
    pub(super) versions: BTreeMap<String, i64>,
    pub(super) encryption: &'a RowEncryption,
    /// The advisory locks that this change holds.
    pub(super) locks: BTreeSet<Lock>,
    /// The rows that this change has locked, by the position of their table in `ROW_LOCK_ORDER`.
    /// Only development builds fill it.
    pub(super) rows: BTreeSet<(Option<usize>, String)>,
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

    /// The API key that the objects of this change are created with: that of the caller, or the key
    /// that opened the portal session of the caller.
    pub const fn creator_key(&self) -> Option<&KeyId> {
        self.origin.actor.source_key()
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
                Err(StoreError::LockOrder { requested: format!("{lock:?}"), held: format!("{last:?}") })
            }
            _ => Ok(!self.locks.contains(&lock)),
        }
    }

    /// Fails if the change has locked a later row, unless it has locked this one before. Only
    /// development builds check this: their tests run every change, and a release prefers the small
    /// risk of a deadlock to refusing a change.
    pub(super) fn check_row_order(&mut self, table: &str, key: &impl Serialize) -> Result<(), StoreError> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        let key = serde_json::to_value(key)?;
        let key = match key.as_object() {
            // The key of a statement for many rows, by column.
            Some(columns) => columns.values().cloned().collect(),
            None if key.is_array() => key,
            None => Value::Array(vec![key]),
        };
        let row = (ROW_LOCK_ORDER.iter().position(|known| *known == table), key.to_string());
        match self.rows.last() {
            _ if row.0.is_none() => {
                Err(StoreError::LockOrder { requested: table.to_owned(), held: "no table in this order".to_owned() })
            }
            Some(last) if *last > row && !self.rows.contains(&row) => {
                let name = |(table, key): &(Option<usize>, String)| {
                    format!("{} {key}", table.map_or("", |position| ROW_LOCK_ORDER[position]))
                };
                Err(StoreError::LockOrder { requested: name(&row), held: name(last) })
            }
            Some(_) | None => {
                self.rows.insert(row);
                Ok(())
            }
        }
    }

    /// Registers a new credential. It receives its status list index at the end of the change.
    pub(crate) fn register_new_credential(&mut self, credential: CredentialId) {
        self.unallocated.push(credential);
    }

    /// Gives the store the master keys, from which on it encrypts and decrypts rows.
    pub fn set_cipher(&self, cipher: Arc<dyn RowCipher>) {
        self.encryption.set_cipher(cipher);
    }

    pub(super) fn cipher(&self) -> Result<Arc<dyn RowCipher>, StoreError> {
        self.encryption.cipher()
    }

    pub(super) fn encrypt(&self, row: &EncodedRow, plaintext: &[u8]) -> Result<Encrypted, StoreError> {
        Ok(self.cipher()?.encrypt(row, plaintext, self.entropy)?)
    }

    /// Decrypts the row `id` of `table`. Returns `StoreError::Altered` if it was altered outside of
    /// Keyswap.
    pub(super) fn decrypt(
        &self,
        row: &EncodedRow,
        encrypted: &Encrypted,
        table: &'static str,
        id: &str,
    ) -> Result<Plaintext, StoreError> {
        self.cipher()?.decrypt(row, encrypted).map_err(|error| match error {
            EncryptionError::DecryptionFailed => StoreError::Altered { table, id: id.to_owned() },
            EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_) => error.into(),
        })
    }

    pub fn generate_id<I: GeneratedId>(&self) -> Result<I, EntropyUnavailable> {
        I::generate(self.now, self.entropy)
    }
}

/// Returns the time of the database, which advances during a transaction.
pub fn now(connection: &mut Conn) -> Result<Timestamp, StoreError> {
    Ok(diesel::select(keyswap_now()).get_result(connection)?)
}
