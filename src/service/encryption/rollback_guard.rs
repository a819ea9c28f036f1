//! Rollback guard: a small file outside of the database and its backups that records the progress
//! of the database. A database that is behind its guard file was rolled back: keys that were
//! revoked since work again, and signing keys that were published since are unknown. An operator
//! must decide before anything is signed. The process also keeps the progress that it has seen
//! itself; the file adds what survives a restart.

use std::{
    cmp::Ordering,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    crypto::master_key_file::{IfExists, write_secret},
    domain::events::{EventType, NewEvent, Origin},
    service::{
        Conflict, Error, Services, WriteFileError,
        encryption::database_progress::{DatabaseProgress, GuardState, RecordedKey, Rollback},
    },
    store::{self, Conn, Lock, Outcome, RowEncryption, Store, StoreError, signing::manifest::AuthenticSigningKeys},
};

/// Compares the database with the guard file, and with what this process has seen. Halts signing
/// while an operator must decide. If the database does not answer, the previous result remains.
pub async fn check(services: &Services) -> Result<(), Error> {
    let _checking = services.rollback_guard.checking.lock().await;
    let (state, _) = compare_and_keep(services).await?;
    apply_state(services, state);
    Ok(())
}

/// Like `check`, and records the progress of the database in the guard file.
pub async fn update(services: &Services) -> Result<(), Error> {
    let _checking = services.rollback_guard.checking.lock().await;
    let (mut state, progress) = compare_and_keep(services).await?;
    let to_record = match &state {
        GuardState::Consistent => progress,
        // What only this process has seen is recorded too, because `keyswap restore` compares the
        // database with the file.
        GuardState::RolledBack(rollback) => Some(rollback.recorded.clone()),
        GuardState::FileUnavailable(_) | GuardState::Corrupt => None,
    };
    let location = &services.rollback_guard.location;
    if let Some(progress) = to_record.filter(|_| location.is_persistent) {
        let file = location.file.clone();
        let written = tokio::task::spawn_blocking(move || record_progress(&file, &progress)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            state = match state {
                GuardState::RolledBack(mut rollback) => {
                    rollback.needs_restart = true;
                    GuardState::RolledBack(rollback)
                }
                GuardState::Consistent | GuardState::FileUnavailable(_) | GuardState::Corrupt => {
                    file_unavailable("write", &error)
                }
            };
        }
    }
    apply_state(services, state);
    Ok(())
}

/// Compares the database, and keeps its progress if it was not rolled back.
async fn compare_and_keep(services: &Services) -> Result<(GuardState, Option<DatabaseProgress>), Error> {
    let guard = &services.rollback_guard;
    let committed = services.store.last_commit();
    let seen = guard.last_progress().map(|seen| seen.with_commit(committed.as_deref()));
    let (mut state, progress) = compare_with(&services.store, &guard.location.file, seen).await?;
    if let GuardState::RolledBack(rollback) = &mut state {
        rollback.needs_restart = !guard.location.is_persistent;
    }
    if let Some(progress) = &progress
        && !state.requires_decision()
    {
        guard.keep_progress(progress.clone());
        if let Some(committed) = &committed {
            services.store.forget_commit(committed);
        }
    }
    Ok((state, progress))
}

fn apply_state(services: &Services, state: GuardState) {
    let must_halt = state.requires_decision();
    if *services.rollback_guard.state() != state {
        let file = services.rollback_guard.location.file.display();
        match state.describe_problem() {
            Some(reason) if must_halt => {
                tracing::error!(reason, %file, "the rollback check failed: requests that verify or sign are answered with 503")
            }
            Some(reason) => tracing::warn!(
                reason,
                %file,
                "failed to use the file of the rollback guard; continuing with the guard in memory; will retry"
            ),
            None => tracing::info!("the rollback check succeeded: the database agrees with its rollback guard"),
        }
    }
    services.rollback_guard.state.store(Arc::new(state));
    services.keys.set_halted(must_halt);
}

fn file_unavailable(action: &str, error: &io::Error) -> GuardState {
    GuardState::FileUnavailable(format!(
        "failed to {action} the rollback guard: {error}; the rollback of a database might not be detected"
    ))
}

/// Compares the database with the guard file `file`. Also returns the progress of the database, or
/// `None` if it has no events.
pub async fn compare(store: &Store, file: &Path) -> Result<(GuardState, Option<DatabaseProgress>), Error> {
    compare_with(store, file, None).await
}

/// Like `compare`, and compares the database with `seen`, which this process has seen. A decision
/// of an operator that the file records applies to `seen` as well.
async fn compare_with(
    store: &Store,
    file: &Path,
    seen: Option<DatabaseProgress>,
) -> Result<(GuardState, Option<DatabaseProgress>), Error> {
    let (file, encryption) = (file.to_owned(), store.encryption());
    store
        .read_for_rollback_check(move |connection| {
            // The file is read before the database. Otherwise progress that is recorded in between
            // would look like a rollback.
            let recorded = read_guard_file(&file);
            let Some(mut actual) = read_progress(connection, &encryption)? else {
                return Ok((GuardState::Consistent, None));
            };
            let in_file = recorded.as_ref().ok().and_then(Option::as_ref);
            let seen = seen.filter(|seen| {
                seen.database == actual.database
                    && !in_file.is_some_and(|in_file| in_file.has_acceptance_unknown_to(seen))
            });
            let accepted = in_file.and_then(|in_file| in_file.accepted.clone());
            actual.accepted = accepted.or_else(|| seen.as_ref().and_then(|seen| seen.accepted.clone()));
            let by_file = match recorded {
                Ok(None) => GuardState::Consistent,
                Ok(Some(recorded)) => compare_progress(connection, recorded, &actual)?,
                Err(state) => state,
            };
            let by_memory = match seen {
                Some(seen) => compare_progress(connection, seen, &actual)?,
                None => GuardState::Consistent,
            };
            Ok((select_state(by_file, by_memory), Some(actual)))
        })
        .await
}

/// Returns the worse of two results. Of two rollbacks, returns the one from the newer record.
fn select_state(by_file: GuardState, by_memory: GuardState) -> GuardState {
    match (&by_file, &by_memory) {
        (GuardState::RolledBack(file), GuardState::RolledBack(memory)) if memory.recorded.includes(&file.recorded) => {
            by_memory
        }
        (GuardState::Consistent | GuardState::FileUnavailable(_), GuardState::RolledBack(_)) => by_memory,
        _ => by_file,
    }
}

fn read_progress(connection: &mut Conn, encryption: &RowEncryption) -> Result<Option<DatabaseProgress>, StoreError> {
    let Some(first) = store::events::find(connection, 1)? else { return Ok(None) };
    // The keys are read before the chain head. An event that is read may have changed the keys
    // after they were read, but every change that is read has its event.
    let AuthenticSigningKeys { keys, counter: manifest_counter, .. } =
        store::signing::manifest::list(connection, encryption)?;
    let (seq, hash) = store::events::read_chain_head(connection)?;
    let keys = keys.into_iter().map(RecordedKey::from_stored).collect();
    let (system_id, timeline) = (store::read_system_id(connection)?, store::read_timeline(connection)?);
    let database = first.id.to_string();
    Ok(Some(DatabaseProgress { database, system_id, timeline, seq, hash, manifest_counter, keys, accepted: None }))
}

fn compare_progress(
    connection: &mut Conn,
    recorded: DatabaseProgress,
    actual: &DatabaseProgress,
) -> Result<GuardState, StoreError> {
    if recorded.database != actual.database {
        // The database was set up again or replaced. Nothing that was recorded can return.
        tracing::warn!("the rollback guard belongs to another database; it will record this one");
        return Ok(GuardState::Consistent);
    }
    let is_same_history = match actual.seq.cmp(&recorded.seq) {
        Ordering::Less => false,
        Ordering::Equal => actual.hash == recorded.hash,
        Ordering::Greater => {
            store::events::find(connection, recorded.seq + 1)?.is_none_or(|next| next.prev_hash == recorded.hash)
        }
    };
    let is_same_server = !recorded.is_other_cluster(actual) && !actual.is_on_earlier_timeline(&recorded);
    if is_same_history && is_same_server && actual.manifest_counter >= recorded.manifest_counter {
        return Ok(GuardState::Consistent);
    }
    Ok(GuardState::RolledBack(Box::new(Rollback { recorded, database: actual.clone(), needs_restart: false })))
}

/// Returns the recorded progress, or the state that a file without a record causes.
fn read_guard_file(file: &Path) -> Result<Option<DatabaseProgress>, GuardState> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| GuardState::Corrupt),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_unavailable("read", &error)),
    }
}

/// Serializes writes within this process: they share the name of the temporary file.
static WRITE_LOCK: Mutex<()> = Mutex::new(());

/// Writes the progress, unless the file records the same or more, or an operator has accepted the
/// database in the meantime. Two replicas on one machine may be configured with the same file by
/// mistake.
fn record_progress(file: &Path, progress: &DatabaseProgress) -> io::Result<()> {
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Some(recorded)) = read_guard_file(file)
        && (recorded.includes(progress) || recorded.has_acceptance_unknown_to(progress))
    {
        return Ok(());
    }
    write_guard_file(file, progress)
}

fn write_guard_file(file: &Path, progress: &DatabaseProgress) -> io::Result<()> {
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir)?;
    }
    write_secret(file, &serde_json::to_vec(progress)?, IfExists::Replace)
}

/// Accepts the current state of the database by decision of an operator, and appends an event.
/// Returns `Error::Conflict` if there is nothing to accept.
pub async fn accept(store: &Store, file: &Path, origin: Origin) -> Result<GuardState, Error> {
    let (state, _) = compare(store, file).await?;
    if !state.requires_decision() {
        return Err(Conflict::NothingToAccept.into());
    }
    let event = match &state {
        GuardState::RolledBack(rollback) => NewEvent::new(EventType::RestoreAccepted, &rollback.database.database)
            .with_data("seen_seq", rollback.recorded.seq)
            .with_data("seen_hash", rollback.recorded.hash.clone())
            .with_data("seq", rollback.database.seq),
        GuardState::Corrupt | GuardState::Consistent | GuardState::FileUnavailable(_) => {
            NewEvent::new(EventType::RestoreAccepted, "rollback_guard")
        }
    };
    append_acceptance(store, event, origin).await?;
    let encryption = store.encryption();
    let progress = store.read(move |connection| read_progress(connection, &encryption)).await?;
    let mut progress = progress.ok_or_else(|| Error::internal("an event that was just written disappeared"))?;
    progress.accepted = Some(progress.hash.clone());
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    write_guard_file(file, &progress).map_err(|source| WriteFileError { path: file.to_owned(), source })?;
    Ok(state)
}

/// Accepts the current state of the database for servers whose rollback guard is in memory. They
/// accept it after a restart.
pub async fn accept_in_memory(store: &Store, origin: Origin) -> Result<(), Error> {
    append_acceptance(store, NewEvent::new(EventType::RestoreAccepted, "rollback_guard"), origin).await
}

async fn append_acceptance(store: &Store, event: NewEvent, origin: Origin) -> Result<(), Error> {
    store
        .run_transaction(origin, move |tx| {
            // Keys removed after the backup are back and verifiers may have dropped them, so every
            // propagation delay restarts.
            tx.lock(Lock::SigningKeys)?;
            let now = store::now(tx)?;
            store::signing::clock::record_clock_jump(tx, now)?;
            Ok::<_, Error>(Outcome::event((), event))
        })
        .await
}
