//! Batch loader for credential lookups. All lookups that arrive while a query runs are combined
//! into the next query. Each result is read after its lookup was requested, so a key that was
//! revoked before is never reported as in force (invariant 2).

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::oneshot, task::yield_now};

use crate::{
    domain::common::derived_id::CredentialId,
    store::{
        credentials::{key_details, narrow_details, narrow_lookup},
        database_lease::UnverifiedRead,
        dialect,
        error::StoreError,
        lookup_queue::{
            FoundCredential, LookupResult, LookupScope, MAX_BATCH_SIZE, MAX_WAITING_LOOKUPS, PendingLookup,
        },
        pool::{MAX_LOADER_THREADS, PooledConn, is_broken},
        pool_state::PoolState,
    },
};

/// Requests a lookup. Returns `None` if too many are waiting.
pub(crate) fn submit_lookup(
    pool_state: &Arc<PoolState>,
    credential: CredentialId,
    scope: LookupScope,
) -> Option<LookupHandle> {
    let (result_sender, result) = oneshot::channel();
    let mut state = pool_state.batch_loader.lock();
    if state.pending.len() >= MAX_WAITING_LOOKUPS {
        return None;
    }
    state.pending.push(PendingLookup { credential, scope, result_sender });
    let must_start = state.threads == 0 || (state.idle_threads == 0 && state.pending.len() > MAX_BATCH_SIZE);
    if must_start && state.threads < MAX_LOADER_THREADS {
        state.threads += 1;
        drop(state);
        let worker = LookupWorker { pool_state: Arc::clone(pool_state), has_ended: false };
        tokio::task::spawn_blocking(move || worker.run());
        return Some(LookupHandle { result, wake_guard: None });
    }
    // The first waiting lookup wakes a thread, so the following ones need not. Beyond the size of
    // one batch, the second thread is woken too.
    let wakes = state.idle_threads > 0 && (state.pending.len() == 1 || state.pending.len() > MAX_BATCH_SIZE);
    Some(LookupHandle { result, wake_guard: wakes.then(|| WakeOnDrop(Arc::clone(pool_state))) })
}

/// A lookup that was requested.
pub(crate) struct LookupHandle {
    result: oneshot::Receiver<LookupResult>,
    wake_guard: Option<WakeOnDrop>,
}

impl LookupHandle {
    /// Waits for the result. Returns `None` if the loader thread stopped without one.
    pub(crate) async fn wait_for_result(self) -> Option<LookupResult> {
        if let Some(wake_guard) = self.wake_guard {
            // The other requests of this thread submit their lookups first. Waking a loader thread
            // for each lookup would cost more than the lookup itself.
            yield_now().await;
            drop(wake_guard);
        }
        self.result.await.ok()
    }
}

/// Wakes a loader thread when it is dropped, so that the thread is woken even if the client of the
/// first lookup has disconnected.
struct WakeOnDrop(Arc<PoolState>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.batch_loader.more.notify_one();
    }
}

/// The lifetime of a loader thread.
struct LookupWorker {
    pool_state: Arc<PoolState>,
    has_ended: bool,
}

impl Drop for LookupWorker {
    /// After a panic, or if the thread never started, the waiting lookups are dropped, so that
    /// their requests do not wait. The next lookup starts another thread.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.pool_state.batch_loader.abandon_pending());
        }
    }
}

impl LookupWorker {
    /// Resolves lookups until there are none.
    fn run(mut self) {
        let ended = self.serve_batches();
        self.has_ended = true;
        if let Err(error) = ended {
            for lookup in self.pool_state.batch_loader.abandon_pending() {
                let _ = lookup.result_sender.send(Err(error.clone()));
            }
        }
    }

    fn serve_batches(&self) -> Result<(), StoreError> {
        let connected = connect(&self.pool_state);
        self.pool_state.record_response();
        let mut connection = connected?;
        while let Some(lookups) = self.pool_state.batch_loader.take_batch() {
            if let Err(error) = follow_lease(&self.pool_state, &mut connection) {
                for lookup in lookups {
                    let _ = lookup.result_sender.send(Err(error.clone()));
                }
                return Err(error);
            }
            let resolved = resolve_batch(&self.pool_state, &mut connection, lookups);
            self.pool_state.record_response();
            self.pool_state.record_batch();
            resolved?;
        }
        // If this fails, the connection is lost and the pool discards it.
        let _ = dialect::set_lookup_mode(&mut connection, false);
        Ok(())
    }
}

fn connect(pool_state: &PoolState) -> Result<PooledConn, StoreError> {
    let mut connection = pool_state.pool.get().map_err(StoreError::unavailable)?;
    dialect::set_lookup_mode(&mut connection, true)?;
    Ok(connection)
}

/// Replaces a connection that leads to another server than the one that the lease is on. The loader
/// keeps its connection for as long as there are lookups, so the pool does not check it.
fn follow_lease(pool_state: &PoolState, connection: &mut PooledConn) -> Result<(), StoreError> {
    if pool_state.lease.is_on_other_server(connection.server()) {
        *connection = connect(pool_state)?;
    }
    Ok(())
}

/// The waiting requests, by what they look up, then by credential. Nearly all are for narrow rows.
type LookupsByQuery = BTreeMap<LookupScope, BTreeMap<CredentialId, Vec<oneshot::Sender<LookupResult>>>>;

fn find_many(
    connection: &mut PooledConn,
    ids: &[CredentialId],
    scope: &LookupScope,
) -> Result<BTreeMap<CredentialId, FoundCredential>, StoreError> {
    Ok(match scope {
        LookupScope::Narrow => {
            let found = narrow_lookup::find_many(connection, ids)?.into_iter();
            found.map(|(id, found)| (id, FoundCredential::Narrow(Box::new(found)))).collect()
        }
        LookupScope::NarrowDetails => {
            let found = narrow_details::find_many(connection, ids)?.into_iter();
            found.map(|(id, found)| (id, FoundCredential::NarrowDetails(Box::new(found)))).collect()
        }
        LookupScope::AllTables(detail, targets) => {
            let found = key_details::find_many(connection, ids, targets, *detail)?.into_iter();
            found.map(|(id, found)| (id, FoundCredential::AllTables(Box::new(found)))).collect()
        }
    })
}

/// Resolves a batch. Returns an error if the connection is lost and cannot be replaced; the waiting
/// requests have received that error.
fn resolve_batch(
    pool_state: &PoolState,
    connection: &mut PooledConn,
    lookups: Vec<PendingLookup>,
) -> Result<(), StoreError> {
    let mut groups = LookupsByQuery::new();
    for PendingLookup { credential, scope, result_sender } in lookups {
        groups.entry(scope).or_default().entry(credential).or_default().push(result_sender);
    }
    let mut state = Ok(());
    for (scope, group) in groups {
        let ids: Vec<_> = group.keys().cloned().collect();
        let mut found = find_many(connection, &ids, &scope);
        if found.is_err() && is_broken(connection) {
            // The database closed the connection, for example because it was restarted.
            found = connect(pool_state).and_then(|new| {
                *connection = new;
                find_many(connection, &ids, &scope)
            });
            state = found.as_ref().map(|_| ()).map_err(Clone::clone);
        }
        let server = connection.server();
        for (credential, mut result_senders) in group {
            let result = match &mut found {
                Ok(found) => Ok(found.remove(&credential)),
                // Invalid data of one key must not affect the others.
                Err(StoreError::InvalidData(_)) => {
                    let one = find_many(connection, &[credential], &scope);
                    one.map(|mut found| found.remove(&credential))
                }
                Err(error) => Err(error.clone()),
            };
            let result = result.map(|lookup| UnverifiedRead::new(lookup, server));
            // Sending fails if the request no longer waits. The last one needs no copy.
            let last = result_senders.pop();
            for result_sender in result_senders {
                let _ = result_sender.send(result.clone());
            }
            if let Some(last) = last {
                let _ = last.send(result);
            }
        }
    }
    state
}
