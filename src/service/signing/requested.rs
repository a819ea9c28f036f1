//! Signing keys of the algorithms that audiences request. A next key is published before an
//! audience requests the algorithm; the rotation plan activates it.

use crate::{
    crypto::{master_keys::MasterKeys, random::SystemEntropy, signer::PrivateKeyDer},
    domain::{
        events::NewEvent,
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState, rotation::has_key_in_state},
    },
    service::{
        Error, Services,
        signing::steps::{Publication, generate, publish},
    },
    store::{self, Conn, Lock, StoreError, Tx},
};

/// Generates the private key that `ensure_next_key` may need, before its transaction begins:
/// generating an RSA key takes about a second, for which no locks should be held. Returns `None` if
/// a next key is already published.
pub(crate) async fn fresh_for(
    services: &Services,
    algorithm: Option<Algorithm>,
) -> Result<Option<PrivateKeyDer>, Error> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    let published = services.store.read(list_published_keys).await?;
    let is_there = has_key_in_state(&published, algorithm, SigningKeyState::Next);
    Ok(if is_there { None } else { Some(generate(algorithm).await?) })
}

/// Ensures that a next key of `algorithm` is published before an audience requests the algorithm.
/// Returns `Error::Unavailable` if the next key that `fresh_for` found is no longer next.
pub(crate) fn ensure_next_key(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Option<Algorithm>,
    fresh: Option<&PrivateKeyDer>,
) -> Result<Vec<NewEvent>, Error> {
    let mut events = Vec::new();
    let Some(algorithm) = algorithm else { return Ok(events) };
    // Held until the audience is committed: no concurrent rotation can conclude that no audience
    // requests the algorithm.
    tx.lock(Lock::SigningKeys)?;
    if !has_key_in_state(&list_published_keys(tx)?, algorithm, SigningKeyState::Next) {
        let der =
            fresh.ok_or_else(|| Error::Unavailable("the signing keys were rotated just now; try again".to_owned()))?;
        let now = store::now(tx)?;
        publish(tx, master, entropy, algorithm, der, Publication::next(now), &mut events)?;
    }
    Ok(events)
}

fn list_published_keys(connection: &mut Conn) -> Result<Vec<SigningKeyMetadata>, StoreError> {
    Ok(store::signing::signing_keys::list(connection, true)?.into_iter().map(|key| key.info).collect())
}
