//! Master keys with their states, files and the rows that need them.

use crate::{
    crypto::master_key_file,
    domain::signing::master_key::MasterKeyInfo,
    service::Error,
    store::{self, Conn, Store, StoreError, encryption::columns::EncryptedColumn},
};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// A master key with the number of rows that need it.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    #[serde(flatten)]
    pub info: MasterKeyInfo,
    /// `here`, `missing`, or what is wrong with the file.
    pub file: String,
    pub rows: i64,
    /// Row counts by encrypted column. Columns without rows are omitted.
    pub rows_by_column: BTreeMap<EncryptedColumn, i64>,
}

/// Returns every registered master key with the state of its file in `dir` and the rows that need
/// it.
pub async fn status(store: &Store, dir: &Path) -> Result<Vec<Counted>, Error> {
    let dir = dir.to_owned();
    store
        .read(move |connection| {
            let listed = store::encryption::master_keys::list(connection)?;
            let counted = listed.into_iter().map(|info| {
                let rows_by_column = needed(connection, info.version)?;
                let file = describe_file(&dir, &info);
                Ok(Counted { file, rows: rows_by_column.values().sum(), rows_by_column, info })
            });
            counted.collect()
        })
        .await
}

pub(crate) fn describe_file(dir: &Path, info: &MasterKeyInfo) -> String {
    match master_key_file::read_key_of_version(dir, info.version) {
        Ok(Some(key)) if key.fingerprint() == info.fingerprint => "here".to_owned(),
        Ok(Some(_)) => "another key is here".to_owned(),
        Ok(None) => "missing".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn needed(connection: &mut Conn, version: i32) -> Result<BTreeMap<EncryptedColumn, i64>, StoreError> {
    let mut needed = BTreeMap::new();
    for place in EncryptedColumn::ALL {
        let count = store::encryption::columns::count(connection, place, version)?;
        if count > 0 {
            needed.insert(place, count);
        }
    }
    Ok(needed)
}

/// Formats the counts: "3 credentials, 1 webhooks".
pub fn told(needed: &BTreeMap<EncryptedColumn, i64>) -> String {
    let parts: Vec<_> = needed.iter().map(|(place, count)| format!("{count} {}", place.as_str())).collect();
    parts.join(", ")
}
