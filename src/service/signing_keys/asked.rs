//! Signing keys of the algorithms that audiences ask for: one is published before an audience asks, and begins by the plan.

use crate::{
    crypto::{master::MasterKeys, random::SystemEntropy, signer::PrivateKeyDer},
    domain::{
        event::NewEvent,
        rotation::has,
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
    },
    service::{App, Error},
    store::{self, Conn, StoreError, Tx},
};

use super::{
    LOCK,
    steps::{Publication, generate, publish},
};

/// The private key that `publish_asked` may need: made before its change begins, since an RSA key takes a second, and locks
/// should not.
///
/// # Errors
/// The database does not answer, or there is no randomness.
pub(in crate::service) async fn fresh_for(
    app: &App,
    algorithm: Option<Algorithm>,
) -> Result<Option<PrivateKeyDer>, Error> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    let published = app.store.read(infos).await?;
    let is_there = has(&published, algorithm, SigningKeyState::Next);
    Ok(if is_there { None } else { Some(generate(algorithm).await?) })
}

/// Sees to it that a next key of `algorithm` stands published before an audience asks for it.
///
/// # Errors
/// The last one went away since `fresh_for` looked.
pub(in crate::service) fn publish_asked(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Option<Algorithm>,
    fresh: Option<&PrivateKeyDer>,
) -> Result<Vec<NewEvent>, Error> {
    let mut events = Vec::new();
    let Some(algorithm) = algorithm else { return Ok(events) };
    // Held until the audience stands there: no rotation in between can find that nobody asks for the algorithm.
    store::lock(tx, LOCK)?;
    if !has(&infos(tx)?, algorithm, SigningKeyState::Next) {
        let der =
            fresh.ok_or_else(|| Error::Unavailable("the signing keys were rotated just now; try again".to_owned()))?;
        let now = store::now(tx)?;
        publish(tx, master, entropy, algorithm, der, Publication::next(now), &mut events)?;
    }
    Ok(events)
}

fn infos(connection: &mut Conn) -> Result<Vec<SigningKeyInfo>, StoreError> {
    Ok(store::signing_keys::list(connection, true)?.into_iter().map(|key| key.info).collect())
}
