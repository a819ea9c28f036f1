//! Re-encrypts every row with the current master key, in batches.

use crate::{
    crypto::{
        encryption::{private_key_row, webhook_row},
        master_keys::MasterKeys,
    },
    domain::{
        common::encryption::{Encrypted, EncryptionError, RowCipher as _},
        events::Origin,
        signing::master_key::MasterKeyState,
    },
    service::Error,
    store::{
        self, AuthenticatedRow, Conn, Lock, NoEvent, Outcome, Store, StoreError, Tx,
        encryption::columns::{self, EncryptedColumn, EncryptedRow},
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Number of rows that a transaction re-encrypts. It is small so that other transactions do not
/// wait long.
const BATCH_SIZE: i64 = 100;

/// The result of a re-encryption.
#[derive(Debug, Default, Serialize)]
pub struct ReencryptionReport {
    pub rows: BTreeMap<EncryptedColumn, i64>,
    /// Rows that cannot be decrypted because they were altered. They remain unchanged.
    pub undecryptable: Vec<UndecryptableRow>,
}

#[derive(Debug, Serialize)]
pub struct UndecryptableRow {
    pub place: EncryptedColumn,
    pub id: String,
}

impl ReencryptionReport {
    pub fn total(&self) -> i64 {
        self.rows.values().sum()
    }
}

struct Batch {
    re_encrypted: i64,
    undecryptable: Vec<UndecryptableRow>,
    last: Option<String>,
}

/// Re-encrypts all rows that use a retiring or retired key with the current one of `keys`, a few at
/// a time, and calls `progress` after each batch. Batches that were completed before an error
/// remain.
pub async fn run(
    store: &Store,
    keys: &MasterKeys,
    origin: &Origin,
    report: &mut ReencryptionReport,
    mut progress: impl FnMut(&ReencryptionReport),
) -> Result<(), Error> {
    let registered = store.read(store::encryption::master_keys::list).await?;
    keys.synchronize(&registered);
    report.undecryptable.clear();
    let is_old = |state: MasterKeyState| matches!(state, MasterKeyState::Retiring | MasterKeyState::Retired);
    for version in registered.iter().filter(|info| is_old(info.state)).map(|info| info.version) {
        for column in EncryptedColumn::ALL {
            let mut after = String::new();
            loop {
                let keys = keys.clone();
                let batch = store.run_transaction(origin.clone(), move |tx| {
                    let batch = re_encrypt_batch(tx, &keys, column, version, &after)?;
                    Ok::<_, Error>(Outcome::without_event(batch, NoEvent::InternalState))
                });
                let batch = batch.await?;
                let Some(last) = batch.last else { break };
                after = last;
                if batch.re_encrypted > 0 {
                    *report.rows.entry(column).or_default() += batch.re_encrypted;
                }
                report.undecryptable.extend(batch.undecryptable);
                progress(report);
            }
        }
    }
    Ok(())
}

/// Re-encrypts the rows of one column that are encrypted with one master key, after the row
/// `after`.
fn re_encrypt_batch(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    column: EncryptedColumn,
    version: i32,
    after: &str,
) -> Result<Batch, Error> {
    if matches!(column, EncryptedColumn::SigningKeys | EncryptedColumn::SigningKeyManifest) {
        // Like every change of signing keys, which locks all of their rows.
        tx.lock(Lock::SigningKeys)?;
        store::signing::manifest::begin_change(tx)?;
    }
    let mut rows = columns::list_by_master_key(tx, column, version, after, BATCH_SIZE)?;
    let last = rows.last().map(|row| row.id.clone());
    let mut keys_of_credentials = BTreeMap::new();
    if column == EncryptedColumn::Credentials {
        let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        keys_of_credentials = store::api_keys::authentication::find_keys(tx, &ids)?;
        // In the order in which every change locks keys.
        rows.sort_by(|a, b| keys_of_credentials.get(&a.id).cmp(&keys_of_credentials.get(&b.id)));
    }
    let mut batch = Batch { re_encrypted: 0, undecryptable: Vec::new(), last };
    for row in rows {
        let replaced = match keys_of_credentials.get(&row.id) {
            Some(key) => store::api_keys::authentication::re_encrypt(tx, key, &row.id),
            None => re_encrypt(tx, keys, column, version, &row),
        };
        match replaced {
            // A row that was changed or deleted since is skipped. The next run finds its new
            // version.
            Ok(replaced) => batch.re_encrypted += i64::from(replaced),
            Err(
                StoreError::Altered { .. }
                | StoreError::InvalidData(_)
                | StoreError::Encryption(EncryptionError::DecryptionFailed),
            ) => {
                batch.undecryptable.push(UndecryptableRow { place: column, id: row.id });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(batch)
}

/// Returns whether the row was replaced. An altered row is never encrypted again, because this
/// would make it authentic.
fn re_encrypt(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    column: EncryptedColumn,
    master_version: i32,
    row: &EncryptedRow,
) -> Result<bool, StoreError> {
    let encoded = match column {
        // Deleted since its id was listed.
        EncryptedColumn::Credentials => return Ok(false),
        EncryptedColumn::SigningKeyManifest => {
            // The change of the signing keys that this batch is writes the manifest again.
            return Ok(true);
        }
        EncryptedColumn::SigningKeys => private_key_row(&row.id),
        EncryptedColumn::PortalSessions => {
            let id = row.id.parse().map_err(StoreError::invalid_data)?;
            let Some(stored) = store::portal::sessions::find(tx, &id)? else { return Ok(false) };
            stored.session.encode()
        }
        EncryptedColumn::Audiences => {
            return re_encrypt_tag(tx, keys, column, row, store::access::audiences::find_to_check);
        }
        EncryptedColumn::AccessRecords => {
            return re_encrypt_tag(tx, keys, column, row, store::access::access_records::find_to_check);
        }
        EncryptedColumn::Webhooks | EncryptedColumn::PreviousWebhookSecrets => webhook_row(&row.id),
    };
    let old = Encrypted { master_version, bytes: row.ciphertext.clone() };
    let new = keys.encrypt(&encoded, &keys.decrypt(&encoded, &old)?, tx.entropy())?;
    columns::replace(tx, column, row, &new)
}

/// Re-encrypts the tag of a row that is read with it, in one statement.
fn re_encrypt_tag(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    column: EncryptedColumn,
    row: &EncryptedRow,
    find: fn(&mut Conn, &[String]) -> Result<Vec<AuthenticatedRow>, StoreError>,
) -> Result<bool, StoreError> {
    // A row that was changed since its id was listed is encrypted with the current key.
    let found = find(tx, std::slice::from_ref(&row.id))?;
    let Some(found) = found.into_iter().find(|found| found.encrypted.bytes == row.ciphertext) else { return Ok(false) };
    let tag = keys.decrypt(&found.encoded, &found.encrypted)?;
    columns::replace(tx, column, row, &keys.encrypt(&found.encoded, &tag, tx.entropy())?)
}
