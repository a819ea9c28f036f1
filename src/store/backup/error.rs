//! Why a backup fails. In each case the named file does not exist, or is as it was before.

use std::{io, path::PathBuf};

use diesel::result::Error as DieselError;

use crate::store::error::{OpenError, StoreError};

/// The reason why no backup was written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("failed to read the database: {0}; no backup was written")]
    Database(#[from] StoreError),
    #[error("the database has no tables of Keyswap: there is nothing to back up; check database.url")]
    NotKeyswap,
    #[error("{} exists: choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} is a directory, a link or a device: name a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is part of the database itself: name another file", .0.display())]
    IsDatabase(PathBuf),
    #[error("{} is not valid UTF-8, which SQLite requires: name another file", .0.display())]
    NotUnicode(PathBuf),
    #[error("failed to write {}: {source}; no backup was written", file.display())]
    Write { file: PathBuf, source: io::Error },
    /// The disk may be full.
    #[error("failed to copy the database: {0}; no backup was written")]
    Copy(DieselError),
    #[error(
        "the copy is corrupt: {0}; no backup was written. Check the disk of the backup, and the database with PRAGMA integrity_check"
    )]
    CorruptCopy(String),
    #[error(
        "failed to run {program}: {source}. Install the client programs of PostgreSQL {server}: postgresql-client-{server} on Debian \
         and Ubuntu, postgresql{server}-client on Alpine, postgresql{server} on Red Hat"
    )]
    MissingProgram { program: &'static str, server: u32, source: io::Error },
    #[error(
        "pg_dump has version {found}, which is older than the server ({server}): install the client programs of PostgreSQL {server}, \
         such as postgresql-client-{server} on Debian and Ubuntu, and put them first in the PATH"
    )]
    OlderProgram { found: u32, server: u32 },
    #[error(
        "database.url has the parameter sslpassword, which pg_dump takes as an argument only, where other users can see it: use a \
         client key without a password, or run pg_dump yourself"
    )]
    ClientKeyPassword,
    #[error("stopped by a signal; no backup was written")]
    Stopped,
    #[error("{program} failed: {message}; no backup was written")]
    Program { program: &'static str, message: String },
}

impl From<DieselError> for BackupError {
    fn from(error: DieselError) -> Self {
        Self::Database(error.into())
    }
}
