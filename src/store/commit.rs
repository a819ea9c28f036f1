//! Runs a change: one transaction, with its events and the indexes of its new credentials. A change
//! that PostgreSQL rolls back in favor of another one is repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
};

use diesel::Connection as _;
use tokio::time::Instant;

use crate::{
    domain::{
        common::{
            entropy::Entropy,
            id::{EventId, GeneratedId as _},
        },
        events::{ActorRef, Digest, Event, NewEvent, Origin, Remembered},
    },
    store::{
        Store,
        api_keys::authentication,
        database_lease::Trust,
        dialect, events,
        operation_limits::OperationKind,
        own_commits::CommittedEvent,
        pending_changes::KeyChanges,
        prelude::*,
        retry::{self, ChangeError, MAX_RETRIES, RetryReason},
        row_encryption::RowEncryption,
        row_versions,
        schema::event_chain_head,
        signing::manifest,
        status_lists,
        transaction::{NoEvent, Outcome, now},
    },
};

impl Store {
    /// Runs `body` in a write transaction. This is the only way to write. The rows that `body`
    /// writes and the events it returns commit together or not at all. When this function returns
    /// `Ok`, the commit is durable on disk (invariant 3).
    ///
    /// If PostgreSQL rolls the transaction back because of a serialization failure or a deadlock,
    /// `body` runs again in another one. It therefore has no effects outside of its transaction
    /// that matter if it runs twice.
    ///
    /// If the operation times out after it has started, or the connection is lost during the
    /// commit, or the lease on the database ends before the commit has returned, the outcome is
    /// unknown: the transaction may still commit, or has committed. Clients send an
    /// `Idempotency-Key` so that a retry is safe. After any other error nothing has changed.
    pub async fn run_transaction<T, E>(
        &self,
        origin: Origin,
        body: impl FnOnce(&mut Tx<'_>) -> Result<Outcome<T>, E> + Clone + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
    {
        self.run_transaction_as(OperationKind::Change, Trust::RollbackChecked, origin, body).await
    }

    async fn run_transaction_as<T, E>(
        &self,
        kind: OperationKind,
        trust: Trust,
        origin: Origin,
        body: impl FnOnce(&mut Tx<'_>) -> Result<Outcome<T>, E> + Clone + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
    {
        // No attempt begins after the operation has timed out, with an outcome that is unknown.
        let deadline = Instant::now() + self.operation_timeout;
        let change = self.run_blocking(kind, trust, move |store, connection| {
            let (entropy, encryption) = (&*store.entropy, &*store.encryption);
            // SQLite has one writer at a time, which waits for its lock before it reads.
            let retries = if matches!(connection, Conn::Sqlite(_)) { 0 } else { MAX_RETRIES };
            for number in 1..=retries {
                let result = run(connection, entropy, encryption, &origin, body.clone());
                let cause = result.as_ref().err().and_then(|error| error.store_error());
                let Some(reason) = cause.and_then(RetryReason::of) else { return result };
                let wait = retry::wait_before(number, entropy);
                if Instant::now() + wait >= deadline {
                    return result;
                }
                let reason_name = reason.as_str();
                tracing::debug!(reason = reason_name, number, "the database rolled back a change; retrying");
                store.retries.record(reason);
                thread::sleep(wait);
            }
            run(connection, entropy, encryption, &origin, body)
        });
        let (value, committed) = change.await?;
        if let Some(committed) = committed {
            self.own_commits.record(committed);
        }
        Ok(value)
    }

    /// Returns the last event that this process has committed, unless it was forgotten.
    pub fn last_commit(&self) -> Option<Arc<CommittedEvent>> {
        self.own_commits.last()
    }

    /// Forgets the event, because the rollback guard has seen it, or because an operator has given
    /// it up.
    pub fn forget_commit(&self, seen: &Arc<CommittedEvent>) {
        self.own_commits.forget(seen);
    }

    /// Runs a change of Keyswap itself that appends no event, for the reason given.
    pub async fn run_internal<T: Send + 'static>(
        &self,
        reason: NoEvent,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let trust = if reason == NoEvent::Counter { Trust::RollbackCheckedBefore } else { Trust::RollbackChecked };
        let change = move |tx: &mut Tx<'_>| Ok(Outcome::without_event(body(tx)?, reason));
        self.run_transaction_as(OperationKind::Change, trust, Origin::SYSTEM, change).await
    }

    /// Like `run_internal`, for changes that clients cause at will, with connections of their own.
    pub async fn run_count<T: Send + 'static>(
        &self,
        reason: NoEvent,
        body: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let count = move |tx: &mut Tx<'_>| Ok(Outcome::without_event(body(tx)?, reason));
        self.run_transaction_as(OperationKind::Count, Trust::RollbackChecked, Origin::SYSTEM, count).await
    }
}

/// Runs `body` and appends its events in one transaction. Also returns the last of the events.
fn run<T, E: From<StoreError>>(
    connection: &mut Conn,
    entropy: &dyn Entropy,
    encryption: &RowEncryption,
    origin: &Origin,
    body: impl FnOnce(&mut Tx<'_>) -> Result<Outcome<T>, E>,
) -> Result<(T, Option<CommittedEvent>), E> {
    let change = |connection: &mut Conn| {
        dialect::acquire_sqlite_write_lock(connection)?;
        let now = now(connection)?;
        let mut tx = Tx {
            connection,
            entropy,
            now,
            origin,
            unallocated: Vec::new(),
            keys: KeyChanges::default(),
            signing_keys: None,
            versions: BTreeMap::new(),
            encryption,
            locks: BTreeSet::new(),
            rows: BTreeSet::new(),
        };
        let (value, mut new_events) = body(&mut tx)?.into_parts();
        // Indexes are assigned after all other locks are taken and before the chain head is locked.
        let unallocated = std::mem::take(&mut tx.unallocated);
        status_lists::allocate_indexes(&mut tx, &unallocated)?;
        authentication::encrypt_changed_keys(&mut tx)?;
        row_versions::record_versions(&tx.versions, &mut new_events);
        manifest::write_manifest(&mut tx)?;
        let last_event = append(&mut tx, encryption.digest(), new_events)?;
        Ok((value, last_event))
    };
    connection.transaction(|connection| change(connection).map_err(TransactionError::Body)).map_err(|failed| {
        match failed {
            TransactionError::Body(error) => error,
            TransactionError::Transaction(error) => E::from(error.into()),
        }
    })
}

pub(crate) enum TransactionError<E> {
    Body(E),
    Transaction(diesel::result::Error),
}

impl<E> From<diesel::result::Error> for TransactionError<E> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Transaction(error)
    }
}

/// Numbers, links and inserts the events, and returns the last one. The chain head is locked last
/// and until the commit, so that event numbers follow the commit order.
fn append(tx: &mut Tx<'_>, digest: Digest, new: Vec<NewEvent>) -> Result<Option<CommittedEvent>, StoreError> {
    if new.is_empty() {
        return Ok(None);
    }
    let count = i64::try_from(new.len()).map_err(|_| StoreError::invalid_data("too many events"))?;
    let chain_head = event_chain_head::table.find(1);
    diesel::update(chain_head).set(event_chain_head::seq.eq(event_chain_head::seq + count)).execute_in(tx)?;
    let (last, mut hash): (i64, String) = chain_head
        .select((event_chain_head::seq, event_chain_head::hash))
        .load_first(tx)?
        .ok_or_else(|| StoreError::invalid_data("the row of the event chain head is missing"))?;
    // The clock is read again under the lock, so that the times of events follow their numbers.
    let at = now(tx)?;
    let mut appended = Vec::with_capacity(new.len());
    let mut authority_event = None;
    for (seq, new) in (last - count + 1..).zip(new) {
        let event = Event {
            id: EventId::generate(at, tx.entropy)?,
            seq,
            kind: new.kind.as_str().to_owned(),
            at,
            actor: tx.origin.actor.to_ref(),
            on_behalf_of: tx.origin.on_behalf_of.as_ref().map(ToString::to_string),
            subject: ActorRef { kind: new.kind.subject_type().to_owned(), id: Some(new.subject_id) },
            organization_id: new.organization.map(|id| id.to_string()),
            cause: new.cause.map(str::to_owned),
            request_id: tx.origin.request_id.clone(),
            address: tx.origin.address.clone(),
            data: new.data,
            prev_hash: hash,
        };
        hash = event.hash(digest).map_err(StoreError::invalid_data)?;
        if new.kind.invalidates() == Remembered::SharedFacts {
            authority_event = Some(event.id.clone());
        }
        appended.push(event);
    }
    events::insert(tx, &appended)?;
    diesel::update(chain_head).set(event_chain_head::hash.eq(&hash)).execute_in(tx)?;
    if let Some(event) = authority_event {
        diesel::update(chain_head).set(event_chain_head::authority_event.eq(event)).execute_in(tx)?;
    }
    Ok(Some(CommittedEvent { seq: last, hash }))
}
