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
pub(crate) const AT_ONCE: i64 = 100;

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

/// Re-encrypts all rows that use a retiring or retired key, a few at a time, and calls `progress`
/// after each batch. Batches that were completed before an error remain.
pub async fn reseal(
    store: &Store,
    keys: &MasterKeys,
    origin: &Origin,
    entropy: &SystemEntropy,
    done: &mut ReencryptionReport,
    mut progress: impl FnMut(&ReencryptionReport),
) -> Result<(), Error> {
    let listed = store.read(store::encryption::master_keys::list).await?;
    keys.keep(&listed);
    let others = listed.iter().filter(|info| matches!(info.state, MasterKeyState::Retiring | MasterKeyState::Retired));
    done.undecryptable.clear();
    for version in others.map(|info| info.version) {
        for place in EncryptedColumn::ALL {
            let mut after = String::new();
            loop {
                let (keys, entropy, from) = (keys.clone(), entropy.clone(), after.clone());
                let batch = store
                    .run_transaction(origin.clone(), move |tx| {
                        Ok::<_, Error>(Outcome::without_event(
                            reencrypt_batch(tx, &keys, &entropy, place, version, &from)?,
                            NoEvent::InternalState,
                        ))
                    })
                    .await?;
                let Some(last) = batch.last else { break };
                after = last;
                if batch.resealed > 0 {
                    *done.rows.entry(place).or_default() += batch.resealed;
                }
                done.undecryptable.extend(batch.undecryptable.into_iter().map(|id| UndecryptableRow { place, id }));
                progress(done);
            }
        }
    }
    Ok(())
}

pub(crate) struct Batch {
    resealed: i64,
    undecryptable: Vec<String>,
    last: Option<String>,
}

pub(crate) fn reencrypt_batch(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: EncryptedColumn,
    version: i32,
    after: &str,
) -> Result<Batch, Error> {
    let rows = store::encryption::columns::list_by_master_key(tx, place, version, after, AT_ONCE)?;
    let mut batch = Batch { resealed: 0, undecryptable: Vec::new(), last: rows.last().map(|row| row.id.clone()) };
    for row in rows {
        match anew(keys, entropy, place, version, &row) {
            // A row that was changed or deleted since is skipped. The next run finds its new
            // version.
            Ok(anew) => batch.resealed += i64::from(store::encryption::columns::replace(tx, place, &row, &anew)?),
            Err(EncryptionError::DecryptionFailed) => batch.undecryptable.push(row.id),
            Err(error @ (EncryptionError::NoEntropy | EncryptionError::NoMasterKey(_))) => return Err(error.into()),
        }
    }
    Ok(batch)
}

pub(crate) fn anew(
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: EncryptedColumn,
    master_version: i32,
    row: &EncryptedRow,
) -> Result<ReEncrypted, EncryptionError> {
    let sealed = Encrypted { master_version, bytes: row.ciphertext.clone() };
    if row.has_lookup_digest {
        let (anew, lookup) = imported_key::reseal(keys, &row.id, &sealed, entropy)?;
        return Ok(ReEncrypted { ciphertext: anew.bytes, version: anew.master_version, lookup: Some(lookup) });
    }
    let purpose = match place {
        EncryptedColumn::SigningKeys => SecretKind::SigningKey,
        EncryptedColumn::Credentials => SecretKind::Credential,
        EncryptedColumn::PortalSessions => SecretKind::PortalSession,
        EncryptedColumn::Webhooks | EncryptedColumn::PreviousWebhookSecrets => SecretKind::Webhook,
    };
    // A session is encrypted for the id in its token, which is its own id without the prefix.
    let id = match place {
        EncryptedColumn::PortalSessions => row.id.strip_prefix(PortalSessionId::PREFIX).unwrap_or(&row.id),
        EncryptedColumn::SigningKeys
        | EncryptedColumn::Credentials
        | EncryptedColumn::Webhooks
        | EncryptedColumn::PreviousWebhookSecrets => &row.id,
    };
    let anew = keys.reseal(purpose, id, &sealed, entropy)?;
    Ok(ReEncrypted { ciphertext: anew.bytes, version: anew.master_version, lookup: None })
}
