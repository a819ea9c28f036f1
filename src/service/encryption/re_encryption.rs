//! Re-encrypts every row with the current master key, in batches.

use crate::{
    crypto::{
        encryption::{Encrypted, EncryptionError, SecretKind},
        imported_key,
        master_keys::MasterKeys,
        random::SystemEntropy,
    },
    domain::{common::derived_id::PortalSessionId, events::Origin, signing::master_key::MasterKeyState},
    service::Error,
    store::{
        self, NoEvent, Outcome, Store, Tx,
        encryption::columns::{EncryptedColumn, EncryptedRow, ReEncrypted},
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Number of rows that a transaction re-encrypts. It is small so that other transactions do not
/// wait long.
const BATCH_SIZE: i64 = 100;

/// The result of a re-encryption.
#[derive(Debug, Default, Clone, Serialize)]
pub struct ReencryptionReport {
    pub rows: BTreeMap<EncryptedColumn, i64>,
    /// Rows that cannot be decrypted because they were altered. They remain unchanged.
    pub undecryptable: Vec<UndecryptableRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UndecryptableRow {
    pub place: EncryptedColumn,
    pub id: String,
}

impl ReencryptionReport {
    pub fn total(&self) -> i64 {
        self.rows.values().sum()
    }
}

/// Re-encrypts rows with the current one of `keys`.
#[derive(Debug, Clone)]
pub struct ReEncryption {
    pub keys: MasterKeys,
    pub entropy: SystemEntropy,
}

/// The rows of one column that are encrypted with one master key, after the row `after`.
#[derive(Debug, Clone)]
struct RowRange {
    column: EncryptedColumn,
    version: i32,
    after: String,
}

struct Batch {
    re_encrypted: i64,
    undecryptable: Vec<String>,
    last: Option<String>,
}

impl ReEncryption {
    /// Re-encrypts all rows that use a retiring or retired key, a few at a time, and calls
    /// `progress` after each batch. Batches that were completed before an error remain.
    pub async fn run(
        &self,
        store: &Store,
        origin: &Origin,
        report: &mut ReencryptionReport,
        mut progress: impl FnMut(&ReencryptionReport),
    ) -> Result<(), Error> {
        let registered = store.read(store::encryption::master_keys::list).await?;
        self.keys.synchronize(&registered);
        report.undecryptable.clear();
        let is_old = |state: MasterKeyState| matches!(state, MasterKeyState::Retiring | MasterKeyState::Retired);
        for version in registered.iter().filter(|info| is_old(info.state)).map(|info| info.version) {
            for column in EncryptedColumn::ALL {
                let mut range = RowRange { column, version, after: String::new() };
                loop {
                    let (work, rows) = (self.clone(), range.clone());
                    let batch = store.run_transaction(origin.clone(), move |tx| {
                        let batch = work.re_encrypt_batch(tx, &rows)?;
                        Ok::<_, Error>(Outcome::without_event(batch, NoEvent::InternalState))
                    });
                    let batch = batch.await?;
                    let Some(last) = batch.last else { break };
                    range.after = last;
                    if batch.re_encrypted > 0 {
                        *report.rows.entry(column).or_default() += batch.re_encrypted;
                    }
                    let undecryptable =
                        batch.undecryptable.into_iter().map(|id| UndecryptableRow { place: column, id });
                    report.undecryptable.extend(undecryptable);
                    progress(report);
                }
            }
        }
        Ok(())
    }

    fn re_encrypt_batch(&self, tx: &mut Tx<'_>, range: &RowRange) -> Result<Batch, Error> {
        let RowRange { column, version, after } = range;
        let rows = store::encryption::columns::list_by_master_key(tx, *column, *version, after, BATCH_SIZE)?;
        let last = rows.last().map(|row| row.id.clone());
        let mut batch = Batch { re_encrypted: 0, undecryptable: Vec::new(), last };
        for row in rows {
            match self.re_encrypt(*column, *version, &row) {
                // A row that was changed or deleted since is skipped. The next run finds its new
                // version.
                Ok(new) => {
                    let is_replaced = store::encryption::columns::replace(tx, *column, &row, &new)?;
                    batch.re_encrypted += i64::from(is_replaced);
                }
                Err(EncryptionError::DecryptionFailed) => batch.undecryptable.push(row.id),
                Err(error @ (EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_))) => return Err(error.into()),
            }
        }
        Ok(batch)
    }

    fn re_encrypt(
        &self,
        column: EncryptedColumn,
        master_version: i32,
        row: &EncryptedRow,
    ) -> Result<ReEncrypted, EncryptionError> {
        let old = Encrypted { master_version, bytes: row.ciphertext.clone() };
        let (kind, id) = match column {
            EncryptedColumn::SigningKeys => (SecretKind::SigningKey, row.id.as_str()),
            EncryptedColumn::Credentials => (SecretKind::Credential, row.id.as_str()),
            // A session is encrypted for the id in its token, which is its own id without the
            // prefix.
            EncryptedColumn::PortalSessions => {
                (SecretKind::PortalSession, row.id.strip_prefix(PortalSessionId::PREFIX).unwrap_or(&row.id))
            }
            EncryptedColumn::Webhooks | EncryptedColumn::PreviousWebhookSecrets => {
                (SecretKind::Webhook, row.id.as_str())
            }
        };
        let (new, lookup) = if row.has_lookup_digest {
            let (new, lookup) = imported_key::re_encrypt(&self.keys, id, &old, &self.entropy)?;
            (new, Some(lookup))
        } else {
            (self.keys.re_encrypt(kind, id, &old, &self.entropy)?, None)
        };
        Ok(ReEncrypted { ciphertext: new.bytes, version: new.master_version, lookup })
    }
}
