//! Rotation of the master key. Each step is one transaction, or a series of small ones that can be
//! interrupted at any point: the next run continues with the remaining rows. Every row can be
//! decrypted with the old or the new key at all times.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use crate::{
    crypto::{
        master_key_file::{self, MasterKeyError},
        master_keys::MasterKeys,
        random::SystemEntropy,
    },
    domain::{
        common::time::Span,
        events::{EventType, NewEvent, Origin},
        signing::master_key::{MasterKeyInfo, MasterKeyState},
    },
    service::{
        Conflict, Error, Services, WriteFileError,
        common::conflict::RowCounts,
        encryption::master_key_usage::{check_file, count_rows},
        replicas,
    },
    store::{
        self, Conn, Lock, NoEvent, Outcome, Store, StoreError, Tx, encryption::master_keys, signing::replicas::Replica,
    },
};

impl From<MasterKeyError> for Error {
    fn from(error: MasterKeyError) -> Self {
        Self::internal(error)
    }
}

/// Loads the master keys that are registered in the database.
pub async fn refresh(services: &Services) -> Result<(), StoreError> {
    let master = services.master_keys.clone();
    let before = services.master_keys.snapshot();
    services
        .store
        .read(move |connection| {
            master.synchronize(&master_keys::list(connection)?);
            Ok::<_, StoreError>(())
        })
        .await?;
    let now = services.master_keys.snapshot();
    if now.missing() != before.missing() {
        for missing in now.missing().values() {
            tracing::error!(reason = missing.reason, "a master key is missing: copy its file to this replica");
        }
    }
    Ok(())
}

/// Loads every master key that a row may be encrypted with. Returns an error if a file is missing
/// here, because a row that was not found may exist nevertheless.
pub(crate) fn refresh_if_stale(connection: &mut Conn, master: &MasterKeys) -> Result<(), StoreError> {
    let registered = master_keys::list(connection)?;
    let loaded = master.fingerprints();
    if registered.iter().any(|info| loaded.get(&info.version) != Some(&info.fingerprint)) {
        master.synchronize(&registered);
    }
    // An incoming key does not encrypt anything yet.
    match master.snapshot().missing().values().find(|missing| missing.state != MasterKeyState::Incoming) {
        Some(missing) => {
            Err(StoreError::unavailable(format!("a master key is missing on this server: {}", missing.reason)))
        }
        None => Ok(()),
    }
}

/// The next master key and its origin.
#[derive(Debug, Serialize)]
pub struct RotationStart {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// Whether this call created the file. Otherwise the file existed before.
    pub file_created: bool,
    /// Whether this call registered the key. Otherwise it was registered before.
    pub registered: bool,
}

impl RotationStart {
    const fn resumed(info: MasterKeyInfo) -> Self {
        Self { info, file_created: false, registered: false }
    }
}

/// Runs a change of the master keys, of which no other is made until the transaction ends.
async fn change<T: Send + 'static>(
    store: &Store,
    origin: Origin,
    body: impl FnOnce(&mut Tx<'_>, Vec<MasterKeyInfo>) -> Result<Outcome<T>, Error> + Clone + Send + 'static,
) -> Result<T, Error> {
    let body = move |tx: &mut Tx<'_>| {
        tx.lock(Lock::Setup)?;
        let listed = master_keys::list(tx)?;
        body(tx, listed)
    };
    store.run_transaction(origin, body).await
}

/// Creates the file `master.<next>`, or uses an existing one, and registers its key. Replicas can
/// load the key from then on, but it does not encrypt anything yet. The file is on disk before the
/// key is registered. Returns `Error::Conflict` if the file holds a key that was registered before.
pub async fn begin(store: &Store, dir: &Path, origin: Origin, entropy: &SystemEntropy) -> Result<RotationStart, Error> {
    let registered = store.read(master_keys::list).await?;
    if let Some(info) = in_state(&registered, MasterKeyState::Incoming) {
        return Ok(RotationStart::resumed(info.clone()));
    }
    let version = registered.last().map_or(1, |info| info.version + 1);
    fs::create_dir_all(dir).map_err(|source| WriteFileError { path: dir.to_owned(), source })?;
    master_key_file::remove_temporary_files(dir);
    let (key, file_created) = master_key_file::create_or_read_key(dir, version, entropy)?;
    let fingerprint = key.fingerprint();
    change(store, origin, move |tx, listed| {
        if let Some(info) = in_state(&listed, MasterKeyState::Incoming) {
            return Ok(Outcome::without_event(RotationStart::resumed(info.clone()), NoEvent::AlreadyRecorded));
        }
        if listed.iter().any(|info| info.fingerprint == fingerprint) {
            return Err(Conflict::MasterKeyReused(version).into());
        }
        master_keys::insert(tx, version, &fingerprint, MasterKeyState::Incoming)?;
        let info = in_state(&master_keys::list(tx)?, MasterKeyState::Incoming).cloned();
        let info = info.ok_or_else(|| StoreError::invalid_data("a registered master key disappeared"))?;
        let event = master_key_event(EventType::MasterKeyRegistered, &info);
        Ok(Outcome::event(RotationStart { info, file_created, registered: true }, event))
    })
    .await
}

/// Returns whether a rotation has begun and not finished.
pub async fn is_rotation_in_progress(store: &Store) -> Result<bool, Error> {
    let listed = store.read(master_keys::list).await?;
    Ok(listed.iter().any(|info| matches!(info.state, MasterKeyState::Incoming | MasterKeyState::Retiring)))
}

/// How a rotation treats running replicas that lack the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKeyPolicy {
    Refuse,
    Ignore,
}

/// Returns the running replicas that have not reported the incoming key. The result is empty if
/// there is no incoming key.
pub async fn list_replicas_without_incoming_key(store: &Store) -> Result<Vec<Replica>, Error> {
    store
        .read(|connection| {
            let listed = master_keys::list(connection)?;
            let incoming = in_state(&listed, MasterKeyState::Incoming);
            Ok(incoming.map_or_else(|| Ok(Vec::new()), |info| find_replicas_without_key(connection, info))?)
        })
        .await
}

fn find_replicas_without_key(connection: &mut Conn, info: &MasterKeyInfo) -> Result<Vec<Replica>, StoreError> {
    let mut replicas = replicas::list_running(connection)?;
    replicas.retain(|replica| !replica.master_key_fingerprints.split(' ').any(|loaded| loaded == info.fingerprint));
    Ok(replicas)
}

/// Returns the longest staleness among `own` and those of the replicas. Within this time each
/// replica has refreshed its keys.
pub async fn max_replica_staleness(store: &Store, own: Span) -> Result<Span, Error> {
    let replicas = store.read(store::signing::replicas::list).await?;
    Ok(replicas.iter().map(|replica| replica.timing.replica_staleness).fold(own, Span::max))
}

/// Makes the incoming key the current one, which encrypts from then on. Returns `None` if there is
/// no incoming key. Returns `Error::Conflict` if its file is missing or holds another key, or if a
/// running replica lacks it and the policy is `MissingKeyPolicy::Refuse`.
pub async fn activate(
    store: &Store,
    dir: &Path,
    origin: Origin,
    missing_keys: MissingKeyPolicy,
) -> Result<Option<MasterKeyInfo>, Error> {
    let dir = dir.to_owned();
    change(store, origin, move |tx, listed| {
        let Some(incoming) = in_state(&listed, MasterKeyState::Incoming).cloned() else {
            return Ok(Outcome::without_event(None, NoEvent::Unchanged));
        };
        check_file(&dir, &incoming)
            .map_err(|fault| Conflict::MasterKeyFileUnusable { version: incoming.version, fault })?;
        let replicas = find_replicas_without_key(tx, &incoming)?;
        if missing_keys == MissingKeyPolicy::Refuse && !replicas.is_empty() {
            return Err(Conflict::ReplicasWithoutMasterKey { version: incoming.version, replicas }.into());
        }
        let faster = || Error::from(Conflict::ChangedConcurrently(format!("master key {}", incoming.version)));
        let old = in_state(&listed, MasterKeyState::Current).ok_or_else(faster)?;
        if !master_keys::transition_state(tx, old.version, MasterKeyState::Current, MasterKeyState::Retiring)?
            || !master_keys::transition_state(tx, incoming.version, MasterKeyState::Incoming, MasterKeyState::Current)?
        {
            return Err(faster());
        }
        let event = master_key_event(EventType::MasterKeyActivated, &incoming);
        let current = in_state(&master_keys::list(tx)?, MasterKeyState::Current).cloned();
        Ok(Outcome::event(current, event))
    })
    .await
}

fn master_key_event(kind: EventType, info: &MasterKeyInfo) -> NewEvent {
    NewEvent::new(kind, info.version).with_data("fingerprint", info.fingerprint.clone())
}

fn in_state(listed: &[MasterKeyInfo], state: MasterKeyState) -> Option<&MasterKeyInfo> {
    listed.iter().find(|info| info.state == state)
}

/// Marks each retiring key that no row needs as retired. Returns the rows that still need other
/// retiring or retired keys, by version.
pub async fn retire(store: &Store, origin: Origin) -> Result<BTreeMap<i32, RowCounts>, Error> {
    change(store, origin, |tx, listed| {
        let (mut left, mut events) = (BTreeMap::new(), Vec::new());
        let is_old = |state| matches!(state, MasterKeyState::Retiring | MasterKeyState::Retired);
        for info in listed.into_iter().filter(|info| is_old(info.state)) {
            let rows = count_rows(tx, info.version)?;
            if !rows.is_empty() {
                left.insert(info.version, rows);
            } else if info.state == MasterKeyState::Retiring
                && master_keys::transition_state(tx, info.version, MasterKeyState::Retiring, MasterKeyState::Retired)?
            {
                events.push(master_key_event(EventType::MasterKeyRetired, &info));
            }
        }
        Ok(Outcome::events_unless(NoEvent::Unchanged, left, events))
    })
    .await
}

/// Removes the registration of a master key that no row needs. The operator must destroy the file.
/// Returns `Error::Conflict` if the key is current or retiring, or if a row needs it.
pub async fn remove(store: &Store, origin: Origin, version: i32) -> Result<MasterKeyInfo, Error> {
    change(store, origin, move |tx, listed| {
        let info = listed.into_iter().find(|info| info.version == version).ok_or(Error::NotFound("master key"))?;
        if info.state == MasterKeyState::Current {
            return Err(Conflict::MasterKeyCurrent(version).into());
        }
        let rows = count_rows(tx, version)?;
        if !rows.is_empty() {
            return Err(Conflict::MasterKeyInUse { version, rows }.into());
        }
        if info.state == MasterKeyState::Retiring {
            return Err(Conflict::MasterKeyNotRetired(version).into());
        }
        master_keys::delete(tx, version)?;
        let event = master_key_event(EventType::MasterKeyRemoved, &info).with_data("state", info.state.as_str());
        Ok(Outcome::event(info, event))
    })
    .await
}
