//! Copies the database to a file while servers use it: SQLite with its own statement, PostgreSQL
//! with `pg_dump`. The file appears under its name only when the copy is complete and was checked.

mod cancellation;
mod error;
mod postgres;
mod sqlite;
mod temporary_file;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use diesel::r2d2::ManageConnection as _;
use serde::Serialize;

pub use cancellation::Cancellation;
pub use error::BackupError;

use crate::{
    domain::{
        common::{entropy::Entropy, time::Timestamp},
        signing::master_key::MasterKeyState,
    },
    store::{
        backup::temporary_file::TemporaryFile,
        dialect,
        encryption::master_keys,
        pool::{self, Conn},
        settings::{Clock, CreationPolicy, DatabaseSettings, DatabaseUrl},
        transaction::now,
    },
};

/// What to do if the file exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingFile {
    Refuse,
    Replace,
}

/// Where a backup is written.
#[derive(Debug, Clone)]
pub struct BackupTarget {
    pub file: PathBuf,
    pub existing: ExistingFile,
}

/// A backup that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// The size of the file in bytes.
    pub size: u64,
    /// The sequence number of the last event that it contains.
    pub event_seq: i64,
    /// When the copy began, by the clock of the database.
    pub taken_at: Timestamp,
    /// The versions of the master keys with which its rows may be encrypted.
    pub master_keys: Vec<i32>,
}

/// Copies the database to the target. Waits for the whole copy, which takes as long as the database
/// is large. Changes are not blocked, and those that commit after the beginning are not in the
/// copy.
pub fn back_up(
    settings: &DatabaseSettings,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
    target: &BackupTarget,
    cancellation: &Cancellation,
) -> Result<Backup, BackupError> {
    let BackupTarget { file, existing } = target;
    check_target(&settings.url, file, *existing)?;
    // Returns an error if the file of the database is missing. A connection would create it.
    let mut source = pool::open(settings, CreationPolicy::Fail, clock, entropy)?.connection_manager().connect()?;
    if !dialect::has_table(&mut source, "event_chain_head")? {
        return Err(BackupError::NotKeyswap);
    }
    let taken_at = now(&mut source)?;
    let registered = master_keys::list(&mut source)?;
    let needed = registered.iter().filter(|key| key.state != MasterKeyState::Retired);
    let failed = |source| BackupError::Write { file: file.to_owned(), source };
    let temporary = TemporaryFile::create(file).map_err(failed)?;
    cancellation.set_incomplete(temporary.path())?;
    let event_seq = match &mut *source {
        Conn::Sqlite(connection) => sqlite::copy(connection, temporary.path())?,
        Conn::Postgres(connection) => postgres::dump(connection, settings, &temporary, cancellation)?,
    };
    cancellation.check()?;
    if *existing == ExistingFile::Refuse && file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let size = temporary.publish().map_err(failed)?;
    Ok(Backup { size, event_seq, taken_at, master_keys: needed.map(|key| key.version).collect() })
}

/// Refuses a file that must not be replaced, before anything is copied.
fn check_target(url: &DatabaseUrl, file: &Path, existing: ExistingFile) -> Result<(), BackupError> {
    let Ok(found) = fs::symlink_metadata(file) else { return Ok(()) };
    if !found.is_file() {
        return Err(BackupError::NotAFile(file.to_owned()));
    }
    let is_found =
        |path: String| fs::metadata(path).is_ok_and(|part| (part.dev(), part.ino()) == (found.dev(), found.ino()));
    if let DatabaseUrl::Sqlite(path) = url
        && ["", "-wal", "-shm"].iter().any(|suffix| is_found(format!("{path}{suffix}")))
    {
        return Err(BackupError::IsDatabase(file.to_owned()));
    }
    match existing {
        ExistingFile::Refuse => Err(BackupError::Exists(file.to_owned())),
        ExistingFile::Replace => Ok(()),
    }
}
