//! Rollback guard: a small file outside of the database and its backups that records the progress
//! of the database. A database that is behind its guard file was rolled back: keys that were
//! revoked since work again, and signing keys that were published since are unknown. An operator
//! must decide before anything is signed.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    crypto::master_key_file::{IfExists, write_secret},
    domain::events::{EventType, NewEvent, Origin},
    service::{
        Error, Services,
        encryption::database_progress::{DatabaseProgress, RecordedKey, Restored, Verdict},
    },
    store::{self, Conn, Lock, Outcome, Store, StoreError},
};

/// Compares the database with the guard file. Halts signing while an operator must decide. If the
/// database does not answer, the previous result remains.
pub async fn look(services: &Services) -> Result<(), Error> {
    let (verdict, _) = compare(&services.store, &services.rollback_guard.file).await?;
    apply_state(services, verdict);
    Ok(())
}

/// Like `look`, and records the progress of the database in the guard file.
pub async fn keep(services: &Services) -> Result<(), Error> {
    let (verdict, seen) = compare(&services.store, &services.rollback_guard.file).await?;
    let verdict = match (verdict, seen) {
        (Verdict::Consistent, Some(seen)) => {
            let file = services.rollback_guard.file.clone();
            let written = tokio::task::spawn_blocking(move || record_progress(&file, &seen)).await;
            match written.map_err(io::Error::other).and_then(|written| written) {
                Ok(()) => Verdict::Consistent,
                Err(error) => Verdict::FileUnavailable(format!(
                    "the witness cannot be written, so an old backup might not be noticed: {error}"
                )),
            }
        }
        (other, _) => other,
    };
    apply_state(services, verdict);
    Ok(())
}

fn apply_state(services: &Services, verdict: Verdict) {
    let before = services.rollback_guard.verdict();
    if *before != verdict {
        match verdict.told() {
            Some(why) if verdict.requires_decision() => tracing::error!(why, "nothing is signed"),
            Some(why) => tracing::warn!(why, file = %services.rollback_guard.file.display(), "see keys.rollback_guard"),
            None => tracing::info!("the database and its witness agree"),
        }
    }
    let asks = verdict.requires_decision();
    services.rollback_guard.verdict.store(Arc::new(verdict));
    services.keys.set_halted(asks);
}

/// Compares the database with the guard file `file`. Also returns the progress of the database, or
/// `None` if it has no events.
pub async fn compare(store: &Store, file: &Path) -> Result<(Verdict, Option<DatabaseProgress>), Error> {
    let file = file.to_owned();
    store
        .read(move |connection| {
            // The file is read before the database. Otherwise progress that is recorded in between
            // would look like a rollback.
            let found = read(&file);
            let Some(is) = read_progress(connection)? else { return Ok((Verdict::Consistent, None)) };
            let verdict = match found {
                Ok(None) => Verdict::Consistent,
                Ok(Some(seen)) => judge(connection, seen, &is)?,
                Err(GuardFileError::Corrupt(why)) => Verdict::Corrupt(why),
                Err(GuardFileError::Io(why)) => Verdict::FileUnavailable(why),
            };
            Ok((verdict, Some(is)))
        })
        .await
}

fn read_progress(connection: &mut Conn) -> Result<Option<DatabaseProgress>, StoreError> {
    let Some(first) = store::events::find(connection, 1)? else { return Ok(None) };
    // The keys are read before the chain head. An event that is read may have changed the keys
    // after they were read, but every change that is read has its event.
    let keys = store::signing::signing_keys::list(connection, false)?;
    let generation = keys.iter().map(|key| key.info.version).sum();
    let (seq, hash) = store::events::read_chain_head(connection)?;
    let keys = keys.into_iter().map(RecordedKey::of).collect();
    Ok(Some(DatabaseProgress { database: first.id.to_string(), seq, hash, generation, keys }))
}

fn judge(
    connection: &mut Conn,
    rollback_guard: DatabaseProgress,
    is: &DatabaseProgress,
) -> Result<Verdict, StoreError> {
    if rollback_guard.database != is.database {
        // The database was set up again or replaced. Nothing that was recorded can return.
        tracing::warn!("the rollback guard belongs to another database; it restarts with this one");
        return Ok(Verdict::Consistent);
    }
    let same_history = match is.seq.cmp(&rollback_guard.seq) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => is.hash == rollback_guard.hash,
        std::cmp::Ordering::Greater => {
            let next = store::events::find(connection, rollback_guard.seq + 1)?;
            next.is_none_or(|next| next.prev_hash == rollback_guard.hash)
        }
    };
    if same_history && is.generation >= rollback_guard.generation {
        return Ok(Verdict::Consistent);
    }
    Ok(Verdict::Restored(Box::new(Restored { rollback_guard, database: is.clone() })))
}

enum GuardFileError {
    Io(String),
    Corrupt(String),
}

fn read(file: &Path) -> Result<Option<DatabaseProgress>, GuardFileError> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(GuardFileError::Io(format!(
                "the witness cannot be read, so an old backup might not be noticed: {error}"
            )));
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| GuardFileError::Corrupt("the witness holds something else than a witness".to_owned()))
}

/// Serializes writes within this process: they share the name of the temporary file.
static WRITE_LOCK: Mutex<()> = Mutex::new(());

/// Writes `read_progress`, unless the file records the same or more. Replicas may share the file.
fn record_progress(file: &Path, seen: &DatabaseProgress) -> io::Result<()> {
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Some(there)) = read(file)
        && there.database == seen.database
        && there.seq >= seen.seq
        && there.generation >= seen.generation
        && there.keys.len() >= seen.keys.len()
    {
        return Ok(());
    }
    write(file, seen)
}

fn write(file: &Path, seen: &DatabaseProgress) -> io::Result<()> {
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir)?;
    }
    write_secret(file, &serde_json::to_vec(seen)?, IfExists::Replace)
}

/// Accepts the current state of the database by decision of an operator, and appends an event.
/// Returns `Error::Conflict` if there is nothing to accept.
pub async fn accept(store: &Store, file: &Path, origin: Origin) -> Result<Verdict, Error> {
    let (verdict, _) = compare(store, file).await?;
    if !verdict.requires_decision() {
        return Err(Error::Conflict("the database is as the witness saw it: there is nothing to accept".to_owned()));
    }
    let event = match &verdict {
        Verdict::Restored(restored) => NewEvent::new(EventType::RestoreAccepted, &restored.database.database)
            .with_data("seen_seq", restored.rollback_guard.seq)
            .with_data("seen_hash", restored.rollback_guard.hash.clone())
            .with_data("seq", restored.database.seq),
        Verdict::Corrupt(_) | Verdict::Consistent | Verdict::FileUnavailable(_) => {
            NewEvent::new(EventType::RestoreAccepted, "witness")
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
    let now = store
        .read(read_progress)
        .await?
        .ok_or_else(|| Error::Internal("an event that was just written is gone".to_owned()))?;
    let unwritable = |error: io::Error| Error::Conflict(format!("cannot write {}: {error}", file.display()));
    let _writing = WRITE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    write(file, &now).map_err(unwritable)?;
    Ok(verdict)
}
