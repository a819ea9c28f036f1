//! Re-encrypts every row with the current master key, in batches.

use crate::{
    crypto::{
        encryption::{Purpose, SealError, Sealed},
        imported_key,
        master_keys::MasterKeys,
        random::SystemEntropy,
    },
    domain::{common::derived_id::PortalSessionId, events::Origin, signing::master_key::MasterKeyState},
    service::Error,
    store::{
        self, Outcome, Store, Tx,
        encryption::columns::{Anew, Place, SealedRow},
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Number of rows that a transaction re-encrypts. It is small so that other transactions do not
/// wait long.
pub(crate) const AT_ONCE: i64 = 100;

/// The result of a re-encryption.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Resealed {
    pub rows: BTreeMap<Place, i64>,
    /// Rows that cannot be decrypted because they were altered. They remain unchanged.
    pub damaged: Vec<Damaged>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damaged {
    pub place: Place,
    pub id: String,
}

impl Resealed {
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
    done: &mut Resealed,
    mut progress: impl FnMut(&Resealed),
) -> Result<(), Error> {
    let listed = store.read(store::encryption::master_keys::list).await?;
    keys.keep(&listed);
    let others = listed.iter().filter(|info| matches!(info.state, MasterKeyState::Retiring | MasterKeyState::Retired));
    done.damaged.clear();
    for version in others.map(|info| info.version) {
        for place in Place::ALL {
            let mut after = String::new();
            loop {
                let (keys, entropy, from) = (keys.clone(), entropy.clone(), after.clone());
                let batch = store
                    .change(origin.clone(), move |tx| {
                        Ok::<_, Error>(Outcome::bookkeeping(some(tx, &keys, &entropy, place, version, &from)?))
                    })
                    .await?;
                let Some(last) = batch.last else { break };
                after = last;
                if batch.resealed > 0 {
                    *done.rows.entry(place).or_default() += batch.resealed;
                }
                done.damaged.extend(batch.damaged.into_iter().map(|id| Damaged { place, id }));
                progress(done);
            }
        }
    }
    Ok(())
}

pub(crate) struct Batch {
    resealed: i64,
    damaged: Vec<String>,
    last: Option<String>,
}

pub(crate) fn some(
    tx: &mut Tx<'_>,
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: Place,
    version: i32,
    after: &str,
) -> Result<Batch, Error> {
    let rows = store::encryption::columns::some(tx, place, version, after, AT_ONCE)?;
    let mut batch = Batch { resealed: 0, damaged: Vec::new(), last: rows.last().map(|row| row.id.clone()) };
    for row in rows {
        match anew(keys, entropy, place, version, &row) {
            // A row that was changed or deleted since is skipped. The next run finds its new
            // version.
            Ok(anew) => batch.resealed += i64::from(store::encryption::columns::replace(tx, place, &row, &anew)?),
            Err(SealError::DoesNotOpen) => batch.damaged.push(row.id),
            Err(error @ (SealError::NoEntropy | SealError::NoMasterKey(_))) => return Err(error.into()),
        }
    }
    Ok(batch)
}

pub(crate) fn anew(
    keys: &MasterKeys,
    entropy: &SystemEntropy,
    place: Place,
    master_version: i32,
    row: &SealedRow,
) -> Result<Anew, SealError> {
    let sealed = Sealed { master_version, bytes: row.bytes.clone() };
    if row.has_lookup {
        let (anew, lookup) = imported_key::reseal(keys, &row.id, &sealed, entropy)?;
        return Ok(Anew { bytes: anew.bytes, version: anew.master_version, lookup: Some(lookup) });
    }
    let purpose = match place {
        Place::SigningKeys => Purpose::SigningKey,
        Place::Credentials => Purpose::Credential,
        Place::PortalSessions => Purpose::PortalSession,
        Place::Webhooks | Place::OldWebhookSecrets => Purpose::Webhook,
    };
    // A session is encrypted for the id in its token, which is its own id without the prefix.
    let id = match place {
        Place::PortalSessions => row.id.strip_prefix(PortalSessionId::PREFIX).unwrap_or(&row.id),
        Place::SigningKeys | Place::Credentials | Place::Webhooks | Place::OldWebhookSecrets => &row.id,
    };
    let anew = keys.reseal(purpose, id, &sealed, entropy)?;
    Ok(Anew { bytes: anew.bytes, version: anew.master_version, lookup: None })
}
