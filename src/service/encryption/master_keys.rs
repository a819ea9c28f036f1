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
        Error, Services,
        encryption::master_key_usage::{describe_file, needed, told},
        signing,
    },
    store::{
        self, Conn, Lock, NoEvent, Outcome, Store, StoreError, encryption::columns::EncryptedColumn,
        signing::replicas::Replica,
    },
};

impl From<MasterKeyError> for Error {
    fn from(error: MasterKeyError) -> Self {
        Self::Conflict(error.to_string())
    }
}

/// Loads the master keys that are registered in the database.
pub async fn refresh(services: &Services) -> Result<(), StoreError> {
    let master = services.master.clone();
    let missing = services.master.held().missing().clone();
    services
        .store
        .read(move |connection| {
            master.keep(&store::encryption::master_keys::list(connection)?);
            Ok::<_, StoreError>(())
        })
        .await?;
    let held = services.master.held();
    if *held.missing() != missing {
        for lack in held.missing().values() {
            tracing::error!(why = lack.why, "a master key is not here: copy the file to this replica");
        }
    }
    Ok(())
}

/// Loads every master key that a row may be encrypted with. Returns an error if a file is missing
/// here, because a row that was not found may exist nevertheless.
pub(crate) fn catch_up(connection: &mut Conn, master: &MasterKeys) -> Result<(), StoreError> {
    let registered = store::encryption::master_keys::list(connection)?;
    let held = master.held().fingerprints();
    let lacks = |info: &MasterKeyInfo| held.get(&info.version) != Some(&info.fingerprint);
    if registered.iter().any(lacks) {
        master.keep(&registered);
    }
    let held = master.held();
    // An incoming key does not encrypt anything yet.
    match held.missing().values().find(|lack| lack.state != MasterKeyState::Incoming) {
        Some(lack) => Err(StoreError::unavailable(format!("a master key is not here: {}", lack.why))),
        None => Ok(()),
    }
}

/// The next master key and its origin.
#[derive(Debug, Clone, Serialize)]
pub struct RotationStart {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// Whether this call created the file. Otherwise the file existed before.
    pub made: bool,
    /// Whether this call registered the key. Otherwise it was registered before.
    pub registered: bool,
}

/// Creates the file `master.<next>`, or uses an existing one, and registers its key. Replicas can
/// load the key from then on, but it does not encrypt anything yet. The file is on disk before the
/// key is registered. Returns `Error::Conflict` if the file holds a key that was registered before.
pub async fn begin(store: &Store, dir: &Path, origin: Origin, entropy: &SystemEntropy) -> Result<RotationStart, Error> {
    let registered = store.read(store::encryption::master_keys::list).await?;
    if let Some(info) = in_state(&registered, MasterKeyState::Incoming) {
        return Ok(RotationStart { info: info.clone(), made: false, registered: false });
    }
    let version = registered.last().map_or(1, |info| info.version + 1);
    fs::create_dir_all(dir)
        .map_err(|error| Error::Conflict(format!("cannot make the directory {}: {error}", dir.display())))?;
    master_key_file::remove_temporary_files(dir);
    let (key, made) = master_key_file::create_or_read_key(dir, version, entropy)?;
    let fingerprint = key.fingerprint();
    store
        .run_transaction(origin, move |tx| {
            tx.lock(Lock::Setup)?;
            let listed = store::encryption::master_keys::list(tx)?;
            if let Some(info) = in_state(&listed, MasterKeyState::Incoming) {
                return Ok(Outcome::without_event(
                    RotationStart { info: info.clone(), made: false, registered: false },
                    NoEvent::AlreadyRecorded,
                ));
            }
            if listed.iter().any(|info| info.fingerprint == fingerprint) {
                return Err(Error::Conflict(format!("master.{version} holds a key that is or was in use already")));
            }
            store::encryption::master_keys::insert(tx, version, &fingerprint, MasterKeyState::Incoming)?;
            let event =
                NewEvent::new(EventType::MasterKeyRegistered, version).with_data("fingerprint", fingerprint.clone());
            let info = in_state(&store::encryption::master_keys::list(tx)?, MasterKeyState::Incoming).cloned();
            let info = info.ok_or_else(|| StoreError::invalid_data("a master key that was registered is gone"))?;
            Ok(Outcome::event(RotationStart { info, made, registered: true }, event))
        })
        .await
}

/// Returns whether a rotation has begun and not finished.
pub async fn is_rotation_in_progress(store: &Store) -> Result<bool, Error> {
    let listed = store.read(store::encryption::master_keys::list).await?;
    Ok(listed.iter().any(|info| matches!(info.state, MasterKeyState::Incoming | MasterKeyState::Retiring)))
}

/// How a rotation treats running replicas that lack the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKeyPolicy {
    Refused,
    Ignore,
}

/// Returns the running replicas that have not reported the incoming key. The result is empty if
/// there is no incoming key.
pub async fn list_replicas_without_incoming_key(store: &Store) -> Result<Vec<Replica>, Error> {
    let found = store.read(|connection| {
        let listed = store::encryption::master_keys::list(connection)?;
        let incoming = in_state(&listed, MasterKeyState::Incoming);
        incoming.map_or_else(|| Ok(Vec::new()), |info| find_replicas_without_key(connection, info))
    });
    Ok(found.await?)
}

fn find_replicas_without_key(connection: &mut Conn, info: &MasterKeyInfo) -> Result<Vec<Replica>, StoreError> {
    let mut lacking = signing::live(connection)?;
    lacking.retain(|replica| !replica.master_key_fingerprints.split(' ').any(|held| held == info.fingerprint));
    Ok(lacking)
}

/// Formats the replicas: "one (rep_…), two (rep_…)".
pub fn named(replicas: &[Replica]) -> String {
    let names: Vec<_> = replicas.iter().map(|replica| format!("{} ({})", replica.name, replica.id)).collect();
    names.join(", ")
}

/// Returns the longest staleness among `own` and those of the replicas. Within this time each
/// replica has refreshed its keys.
pub async fn max_replica_staleness(store: &Store, own: Span) -> Result<Span, Error> {
    let replicas = store.read(store::signing::replicas::list).await?;
    Ok(replicas.iter().map(|replica| replica.timing.max_snapshot_age).fold(own, Span::max))
}

/// Makes the incoming key the current one, which encrypts from then on. Returns `None` if there is
/// no incoming key. Returns `Error::Conflict` if its file is missing or holds another key, or if a
/// running replica lacks it and `list_replicas_without_incoming_key` is `MissingKeyPolicy::Refused`.
pub async fn activate(
    store: &Store,
    dir: &Path,
    origin: Origin,
    lacking: MissingKeyPolicy,
) -> Result<Option<MasterKeyInfo>, Error> {
    let dir = dir.to_owned();
    store
        .run_transaction(origin, move |tx| {
            tx.lock(Lock::Setup)?;
            let listed = store::encryption::master_keys::list(tx)?;
            let Some(incoming) = in_state(&listed, MasterKeyState::Incoming).cloned() else {
                return Ok(Outcome::without_event(None, NoEvent::Unchanged));
            };
            match describe_file(&dir, &incoming).as_str() {
                "here" => {}
                other => return Err(Error::Conflict(format!("master.{}: {other}", incoming.version))),
            }
            let without = find_replicas_without_key(tx, &incoming)?;
            if lacking == MissingKeyPolicy::Refused && !without.is_empty() {
                return Err(Error::Conflict(format!(
                    "these replicas are up and do not hold master.{}: {}. Copy the file to keys.dir there; or pass them over with --force: \
                     they answer 503 for what is sealed with it",
                    incoming.version,
                    named(&without)
                )));
            }
            let faster = || Error::Conflict("another rotation of the master key was faster".to_owned());
            let old = in_state(&listed, MasterKeyState::Current).ok_or_else(faster)?;
            let moved =
                store::encryption::master_keys::transition_state(tx, old.version, MasterKeyState::Current, MasterKeyState::Retiring)?
                    && store::encryption::master_keys::transition_state(
                        tx,
                        incoming.version,
                        MasterKeyState::Incoming,
                        MasterKeyState::Current,
                    )?;
            if !moved {
                return Err(faster());
            }
            let event = NewEvent::new(EventType::MasterKeyActivated, incoming.version)
                .with_data("fingerprint", incoming.fingerprint.clone());
            let current = in_state(&store::encryption::master_keys::list(tx)?, MasterKeyState::Current).cloned();
            Ok(Outcome::event(current, event))
        })
        .await
}

fn in_state(listed: &[MasterKeyInfo], state: MasterKeyState) -> Option<&MasterKeyInfo> {
    listed.iter().find(|info| info.state == state)
}

/// Marks each retiring key that no row needs as retired. Returns the rows that still need other
/// retiring or retired keys, by version.
pub async fn retire(store: &Store, origin: Origin) -> Result<BTreeMap<i32, BTreeMap<EncryptedColumn, i64>>, Error> {
    store
        .run_transaction(origin, |tx| {
            tx.lock(Lock::Setup)?;
            let (mut left, mut events) = (BTreeMap::new(), Vec::new());
            for info in store::encryption::master_keys::list(tx)? {
                if !matches!(info.state, MasterKeyState::Retiring | MasterKeyState::Retired) {
                    continue;
                }
                let needed = needed(tx, info.version)?;
                if !needed.is_empty() {
                    left.insert(info.version, needed);
                } else if info.state == MasterKeyState::Retiring
                    && store::encryption::master_keys::transition_state(
                        tx,
                        info.version,
                        MasterKeyState::Retiring,
                        MasterKeyState::Retired,
                    )?
                {
                    events.push(
                        NewEvent::new(EventType::MasterKeyRetired, info.version)
                            .with_data("fingerprint", info.fingerprint),
                    );
                }
            }
            Ok(Outcome::events_unless(NoEvent::Unchanged, left, events))
        })
        .await
}

/// Removes the registration of a master key that no row needs. The operator must destroy the file.
/// Returns `Error::Conflict` if the key is current or retiring, or if a row needs it.
pub async fn remove(store: &Store, origin: Origin, version: i32) -> Result<MasterKeyInfo, Error> {
    store
        .run_transaction(origin, move |tx| {
            tx.lock(Lock::Setup)?;
            let listed = store::encryption::master_keys::list(tx)?;
            let info = listed.into_iter().find(|info| info.version == version).ok_or(Error::NotFound("master key"))?;
            match info.state {
                MasterKeyState::Current => {
                    return Err(Error::Conflict(format!(
                        "master.{version} seals what is written now: rotate first, `keyswap master-key rotate`"
                    )));
                }
                MasterKeyState::Retiring | MasterKeyState::Retired | MasterKeyState::Incoming => {}
            }
            let needed = needed(tx, version)?;
            if !needed.is_empty() {
                return Err(Error::Conflict(format!(
                    "master.{version} is still needed by {}: run `keyswap master-key rotate --continue`",
                    told(&needed)
                )));
            }
            if info.state == MasterKeyState::Retiring {
                return Err(Error::Conflict(format!(
                    "master.{version} is not retired yet: run `keyswap master-key rotate --continue`"
                )));
            }
            store::encryption::master_keys::delete(tx, version)?;
            let event = NewEvent::new(EventType::MasterKeyRemoved, version)
                .with_data("fingerprint", info.fingerprint.clone())
                .with_data("state", info.state.as_str());
            Ok(Outcome::event(info, event))
        })
        .await
}
