//! Re-encrypts every row with the current master key, in batches.

use crate::{
    crypto::{
        encryption::{Encrypted, EncryptionError, SecretKind},
        imported_key,
        master_keys::MasterKeys,
    },
    domain::{common::derived_id::PortalSessionId, events::Origin, signing::master_key::MasterKeyState},
    service::Error,
    store::{
        self, NoEvent, Outcome, Store, Tx,
        encryption::columns::{self, EncryptedColumn, EncryptedRow, ReEncryptedRow},
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
    let rows = columns::list_by_master_key(tx, column, version, after, BATCH_SIZE)?;
    let last = rows.last().map(|row| row.id.clone());
    let mut batch = Batch { re_encrypted: 0, undecryptable: Vec::new(), last };
    for row in rows {
        match re_encrypt(tx, keys, column, version, &row) {
            // A row that was changed or deleted since is skipped. The next run finds its new
            // version.
            Ok(new) => batch.re_encrypted += i64::from(columns::replace(tx, column, &row, &new)?),
            Err(EncryptionError::DecryptionFailed) => {
                batch.undecryptable.push(UndecryptableRow { place: column, id: row.id });
            }
            Err(error @ (EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_))) => return Err(error.into()),
        }
    }
    Ok(batch)
}

fn re_encrypt(
    tx: &Tx<'_>,
    keys: &MasterKeys,
    column: EncryptedColumn,
    master_version: i32,
    row: &EncryptedRow,
) -> Result<ReEncryptedRow, EncryptionError> {
    let old = Encrypted { master_version, bytes: row.ciphertext.clone() };
    let (kind, id) = match column {
        EncryptedColumn::SigningKeys => (SecretKind::SigningKey, row.id.as_str()),
        EncryptedColumn::Credentials => (SecretKind::Credential, row.id.as_str()),
        // A session is encrypted for the id in its token, which is its own id without the
        // prefix.
        EncryptedColumn::PortalSessions => {
            (SecretKind::PortalSession, row.id.strip_prefix(PortalSessionId::PREFIX).unwrap_or(&row.id))
        }
        EncryptedColumn::Webhooks | EncryptedColumn::PreviousWebhookSecrets => (SecretKind::Webhook, row.id.as_str()),
    };
    let (new, lookup) = if row.has_lookup_digest {
        let (new, lookup) = imported_key::re_encrypt(keys, id, &old, tx.entropy())?;
        (new, Some(lookup))
    } else {
        (keys.re_encrypt(kind, id, &old, tx.entropy())?, None)
    };
    Ok(ReEncryptedRow { ciphertext: new.bytes, version: new.master_version, lookup })
}
