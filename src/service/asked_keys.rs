//! Signing keys of the algorithms that audiences ask for: published when one asks, and signing by themselves from when they may.
//! The key of the configured algorithm is not moved here: a rotation does that.

use std::collections::BTreeSet;

use crate::{
    crypto::{master::MasterKeys, random::SystemEntropy, signer::PrivateKeyDer},
    domain::{
        event::{Actor, NewEvent, Origin},
        rotation::has,
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
    },
    store::{self, Conn, Outcome, StoreError, Tx},
};

use super::{
    App, Error,
    signing_keys::{self, LOCK, advance, generate, publish},
};

/// The private key that `publish_asked` may need: made before its change begins, since an RSA key takes a second, and locks
/// should not.
///
/// # Errors
/// The database does not answer, or there is no randomness.
pub(super) async fn fresh_for(app: &App, algorithm: Option<Algorithm>) -> Result<Option<PrivateKeyDer>, Error> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    let published = app.store.read(infos).await?;
    let is_there = has(&published, algorithm, SigningKeyState::Next);
    Ok(if is_there { None } else { Some(generate(algorithm).await?) })
}

/// Sees to it that a next key of `algorithm` stands published before an audience asks for it.
///
/// # Errors
/// The last one went away since `fresh_for` looked.
pub(super) fn publish_asked(
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
        publish(tx, master, entropy, algorithm, der, SigningKeyState::Next, &mut events)?;
    }
    Ok(events)
}

/// Lets next keys begin to sign that an audience waits for, once every verifier can know them, and publishes one to follow each.
/// Every replica comes by; the first one does it.
///
/// # Errors
/// The database does not answer.
pub async fn begin(app: &App) -> Result<(), Error> {
    let view = app.keys.view();
    if view.asked.is_empty() {
        return Ok(());
    }
    let seen: Vec<_> = view.published.iter().map(|(info, _)| info.clone()).collect();
    let waits = |algorithm: &Algorithm| {
        !has(&seen, *algorithm, SigningKeyState::Active) || !has(&seen, *algorithm, SigningKeyState::Next)
    };
    if !view.asked.iter().any(waits) {
        return Ok(());
    }
    let timing = app.settings.timing;
    let now = app.store.now().await?;
    // What may begin needs a key to follow it; what an older version left without a next key needs one as well.
    let needed: BTreeSet<_> = timing
        .may_begin(&seen, &view.asked, now)
        .map(|key| key.algorithm)
        .chain(view.asked.iter().copied().filter(|algorithm| !has(&seen, *algorithm, SigningKeyState::Next)))
        .collect();
    if needed.is_empty() {
        return Ok(());
    }
    let mut fresh = Vec::new();
    for algorithm in needed {
        fresh.push((algorithm, generate(algorithm).await?));
    }
    let (master, entropy) = (app.master.clone(), app.entropy.clone());
    app.store
        .change(Origin::of(Actor::System), move |tx| {
            store::lock(tx, LOCK)?;
            let (keys, asked) = (infos(tx)?, store::audiences::algorithms(tx)?);
            let mut events = Vec::new();
            for (algorithm, der) in &fresh {
                // Looked at again under the lock: another replica may have come first.
                if let Some(next) = timing.may_begin(&keys, &asked, tx.now()).find(|key| key.algorithm == *algorithm) {
                    advance(tx, next, SigningKeyState::Active, &mut events)?;
                } else if !asked.contains(algorithm) || has(&keys, *algorithm, SigningKeyState::Next) {
                    continue;
                }
                publish(tx, &master, &entropy, *algorithm, der, SigningKeyState::Next, &mut events)?;
            }
            store::signing_keys::raise_longest_ttl(tx, timing.max_ttl)?;
            Ok::<_, Error>(if events.is_empty() { Outcome::bookkeeping(()) } else { Outcome::events((), events) })
        })
        .await?;
    signing_keys::look_again(app).await;
    Ok(())
}

fn infos(connection: &mut Conn) -> Result<Vec<SigningKeyInfo>, StoreError> {
    Ok(store::signing_keys::list(connection, true)?.into_iter().map(|key| key.info).collect())
}
