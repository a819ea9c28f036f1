//! Rollback guard: a small file outside of the database and its backups that records the progress
//! of the database. A database that is behind its guard file was rolled back: keys that were
//! revoked since work again, and signing keys that were published since are unknown. An operator
//! must decide before anything is signed.

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

/// Compares the database with the guard file. Halts signing while an operator must decide. If the
/// database does not answer, the previous result remains.
pub async fn check(services: &Services) -> Result<(), Error> {
    let (state, _) = compare(&services.store, &services.rollback_guard.file).await?;
    apply_state(services, state);
    Ok(())
}

/// Like `check`, and records the progress of the database in the guard file.
pub async fn update(services: &Services) -> Result<(), Error> {
    let (mut state, progress) = compare(&services.store, &services.rollback_guard.file).await?;
    if state == GuardState::Consistent
        && let Some(progress) = progress
    {
        let file = services.rollback_guard.file.clone();
        let written = tokio::task::spawn_blocking(move || record_progress(&file, &progress)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            state = file_unavailable("write", &error);
        }
    }
    apply_state(services, state);
    Ok(())
}

fn apply_state(services: &Services, state: GuardState) {
    let must_halt = state.requires_decision();
    if *services.rollback_guard.state() != state {
        match state.describe_problem() {
            Some(reason) if must_halt => {
                tracing::error!(reason, "the rollback check failed: requests that verify or sign are answered with 503")
            }
            Some(reason) => {
                tracing::warn!(reason, file = %services.rollback_guard.file.display(), "failed to use the rollback guard")
            }
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
    let (file, encryption) = (file.to_owned(), store.encryption());
    store
        .read(move |connection| {
            // The file is read before the database. Otherwise progress that is recorded in between
            // would look like a rollback.
            let recorded = read_guard_file(&file);
            let Some(actual) = read_progress(connection, &encryption)? else {
                return Ok((GuardState::Consistent, None));
            };
            let state = match recorded {
                Ok(None) => GuardState::Consistent,
                Ok(Some(recorded)) => compare_progress(connection, recorded, &actual)?,
                Err(state) => state,
            };
            Ok((state, Some(actual)))
        })
        .await
}

fn read_progress(connection: &mut Conn, encryption: &RowEncryption) -> Result<Option<DatabaseProgress>, StoreError> {
    let Some(first) = store::events::find(connection, 1)? else { return Ok(None) };
    // The keys are read before the chain head. An event that is read may have changed the keys
    // after they were read, but every change that is read has its event.
    let AuthenticSigningKeys { keys, counter: manifest_counter, .. } =
        store::signing::manifest::list(connection, encryption)?;
    let (seq, hash) = store::events::read_chain_head(connection)?;
    let keys = keys.into_iter().map(RecordedKey::from_stored).collect();
    Ok(Some(DatabaseProgress { database: first.id.to_string(), seq, hash, manifest_counter, keys }))
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
    if is_same_history && actual.manifest_counter >= recorded.manifest_counter {
        return Ok(GuardState::Consistent);
    }
    Ok(GuardState::RolledBack(Box::new(Rollback { recorded, database: actual.clone() })))
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

/// Writes the progress, unless the file records the same or more. Replicas may share the file.
fn record_progress(file: &Path, progress: &DatabaseProgress) -> io::Result<()> {
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Some(recorded)) = read_guard_file(file)
        && recorded.database == progress.database
        && recorded.seq >= progress.seq
        && recorded.manifest_counter >= progress.manifest_counter
        && recorded.keys.len() >= progress.keys.len()
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
    store
        .run_transaction(origin, move |tx| {
            // Keys removed after the backup are back and verifiers may have dropped them, so every
            // propagation delay restarts.
            tx.lock(Lock::SigningKeys)?;
            let now = store::now(tx)?;
            store::signing::clock::record_clock_jump(tx, now)?;
            Ok::<_, Error>(Outcome::event((), event))
        })
        .await?;
    let encryption = store.encryption();
    let progress = store.read(move |connection| read_progress(connection, &encryption)).await?;
    let progress = progress.ok_or_else(|| Error::internal("an event that was just written disappeared"))?;
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    write_guard_file(file, &progress).map_err(|source| WriteFileError { path: file.to_owned(), source })?;
    Ok(state)
}
