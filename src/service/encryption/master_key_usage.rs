//! Master keys with their states, files and the rows that need them.

use crate::{
    crypto::master_key_file,
    domain::signing::master_key::MasterKeyInfo,
    service::{
        Error,
        common::conflict::{MasterKeyFileError, RowCounts},
    },
    store::{self, Conn, Store, StoreError, encryption::columns::EncryptedColumn},
};
use serde::Serialize;
use std::path::Path;

/// A master key with the number of rows that need it.
#[derive(Debug, Serialize)]
pub struct MasterKeyUsage {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// `present`, `missing`, or what is wrong with the file.
    pub file: String,
    pub rows: i64,
    pub rows_by_column: RowCounts,
}

/// Returns every registered master key with the state of its file in `dir` and the rows that need
/// it.
pub async fn list(store: &Store, dir: &Path) -> Result<Vec<MasterKeyUsage>, Error> {
    let dir = dir.to_owned();
    store
        .read(move |connection| {
            let registered = store::encryption::master_keys::list(connection)?;
            let usage = registered.into_iter().map(|info| {
                let rows_by_column = count_rows(connection, info.version)?;
                let file = check_file(&dir, &info).map_or_else(|fault| fault.to_string(), |()| "present".to_owned());
                Ok(MasterKeyUsage { file, rows: rows_by_column.values().sum(), rows_by_column, info })
            });
            usage.collect()
        })
        .await
}

/// Returns what is wrong with the file of a master key.
pub(crate) fn check_file(dir: &Path, info: &MasterKeyInfo) -> Result<(), MasterKeyFileError> {
    let key = master_key_file::read_key_of_version(dir, info.version)?.ok_or(MasterKeyFileError::Missing)?;
    if key.fingerprint() == info.fingerprint { Ok(()) } else { Err(MasterKeyFileError::AnotherKey) }
}

pub(crate) fn count_rows(connection: &mut Conn, version: i32) -> Result<RowCounts, StoreError> {
    let mut counts = RowCounts::new();
    for column in EncryptedColumn::ALL {
        counts.insert(column, store::encryption::columns::count(connection, column, version)?);
    }
    counts.retain(|_, count| *count > 0);
    Ok(counts)
}
