//! Signing keys by hand: list, rotate, import. The planner, the schedule and emergencies build on this.

use crate::{
    crypto::{
        import::{self, ImportError},
        master::MasterKeys,
        random::SystemEntropy,
        seal::Purpose,
        signer::{PrivateKeyDer, Signer},
    },
    domain::{
        event::{EventKind, NewEvent},
        rotation::{Timing, after_rotation},
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
        time::{Span, Timestamp},
    },
    store::{self, Outcome, StoreError, Tx, signing_keys::StoredSigningKey},
};

use super::{App, Error, caller::Caller};

/// The lock that everything that moves signing keys takes.
pub(super) const LOCK: i64 = 0x006b_6579_7377_0001;

/// A key with the times that matter to whoever rotates.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    #[serde(flatten)]
    pub info: SigningKeyInfo,
    /// From when it may sign, or could have.
    pub may_sign_from: Timestamp,
    /// From when it may leave the JWKS; absent while it signs.
    pub may_be_removed_from: Option<Timestamp>,
}

/// Every key that is published or was.
///
/// # Errors
/// The database does not answer.
pub async fn list(app: &App) -> Result<Vec<Listed>, Error> {
    let timing = app.settings.timing;
    let keys = app.store.read(|connection| store::signing_keys::list(connection, false)).await?;
    Ok(keys.into_iter().map(|key| listed(key.info, timing)).collect())
}

fn listed(info: SigningKeyInfo, timing: Timing) -> Listed {
    Listed {
        may_sign_from: timing.may_sign_from(info.published_at),
        may_be_removed_from: timing.may_be_removed_from(&info),
        info,
    }
}

/// What a rotation did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Rotated {
    pub activated: Listed,
    pub next: Listed,
    pub retired: Vec<Listed>,
}

/// Promotes the next key of the configured algorithm, keeps the old one published, and publishes a new next one. Keys of other
/// algorithms go on signing as long as an audience asks for them. Two rotations at once make one; the second finds a next key
/// that is too young.
///
/// # Errors
/// `TooEarly` with the time from which it is safe.
pub async fn rotate(app: &App, caller: &Caller) -> Result<Rotated, Error> {
    let (algorithm, timing) = (app.settings.algorithm, app.settings.timing);
    // Made before the change begins: an RSA key takes a second, and locks should not.
    let fresh = generate(algorithm).await?;
    let (master, entropy) = (app.master.clone(), app.entropy.clone());
    let rotated = app
        .store
        .change(caller.origin.clone(), move |tx| {
            store::lock(tx, LOCK)?;
            let keys: Vec<_> = store::signing_keys::list(tx, true)?.into_iter().map(|key| key.info).collect();
            let next =
                keys.iter().find(|key| key.state == SigningKeyState::Next && key.algorithm == algorithm).ok_or_else(
                    || Error::Conflict(format!("no next key for {algorithm} is published; restart the server")),
                )?;
            let from = timing.may_sign_from(next.published_at);
            if from > tx.now() {
                return Err(Error::TooEarly(from));
            }
            let mut events = Vec::new();
            let asked = store::audiences::algorithms(tx)?;
            for key in keys.iter().filter(|key| key.kid != next.kid) {
                if let Some(to) = after_rotation(key, algorithm, &asked) {
                    advance(tx, key, to, &mut events)?;
                }
            }
            advance(tx, next, SigningKeyState::Active, &mut events)?;
            store::signing_keys::raise_longest_ttl(tx, timing.max_ttl)?;
            let now = tx.now();
            for key in keys.iter().filter(|key| timing.is_removable(key, now)) {
                advance(tx, key, SigningKeyState::Removed, &mut events)?;
            }
            let made = publish(tx, &master, &entropy, algorithm, &fresh, SigningKeyState::Next, &mut events)?;
            let activated = next.kid.clone();
            let after = store::signing_keys::list(tx, true)?;
            let of = |wanted: &dyn Fn(&SigningKeyInfo) -> bool| -> Vec<Listed> {
                after.iter().filter(|key| wanted(&key.info)).map(|key| listed(key.info.clone(), timing)).collect()
            };
            let gone = || StoreError::Corrupt("a signing key vanished".to_owned());
            let rotated = Rotated {
                activated: of(&|key| key.kid == activated).pop().ok_or_else(gone)?,
                next: of(&|key| key.kid == made.kid).pop().ok_or_else(gone)?,
                retired: of(&|key| key.state == SigningKeyState::Retiring),
            };
            Ok(Outcome::events(rotated, events))
        })
        .await?;
    look_again(app).await;
    Ok(rotated)
}

/// Publishes a private key from elsewhere as the next one of the configured algorithm, in place of the next one there is, which
/// has never signed.
///
/// # Errors
/// The text holds no such key, or the key is or was here already.
pub async fn import(app: &App, caller: &Caller, text: &str) -> Result<Listed, Error> {
    let (algorithm, timing) = (app.settings.algorithm, app.settings.timing);
    let der =
        import::private_key(text, algorithm).map_err(|error: ImportError| Error::invalid("key", error.to_string()))?;
    let signer = Signer::from_pkcs8(algorithm, &der).map_err(|error| Error::invalid("key", error.to_string()))?;
    let kid = signer.jwk().kid.clone();
    let (master, entropy) = (app.master.clone(), app.entropy.clone());
    let imported = app
        .store
        .change(caller.origin.clone(), move |tx| {
            store::lock(tx, LOCK)?;
            let keys = store::signing_keys::list(tx, false)?;
            if keys.iter().any(|key| key.info.kid == kid) {
                return Err(Error::Conflict(format!(
                    "the key {kid} is or was here already, and a kid is never used again"
                )));
            }
            let mut events = Vec::new();
            for key in
                keys.iter().filter(|key| key.info.algorithm == algorithm && key.info.state == SigningKeyState::Next)
            {
                advance(tx, &key.info, SigningKeyState::Removed, &mut events)?;
            }
            let made = publish(tx, &master, &entropy, algorithm, &der, SigningKeyState::Next, &mut events)?;
            Ok(Outcome::events(listed(made, timing), events))
        })
        .await?;
    look_again(app).await;
    Ok(imported)
}

/// After the commit: a look that fails now takes nothing back, and the job looks again within seconds.
pub(super) async fn look_again(app: &App) {
    if let Err(error) = app.keys.refresh(&app.store, &app.master).await {
        tracing::warn!(%error, "the signing keys could not be looked at");
    }
}

/// Makes a private key off the threads that serve requests.
///
/// # Errors
/// No randomness.
pub(super) async fn generate(algorithm: Algorithm) -> Result<PrivateKeyDer, Error> {
    let made = tokio::task::spawn_blocking(move || Signer::generate(algorithm)).await;
    Ok(made.map_err(|error| Error::Internal(error.to_string()))??)
}

/// Makes sure that there is a key that signs and, for the configured algorithm, one that stands published to follow it. On a
/// new database the first key signs at once: no verifier has cached anything yet (I18).
///
/// # Errors
/// The database does not answer.
pub(super) fn ensure(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Algorithm,
    fresh: &[PrivateKeyDer; 2],
) -> Result<Vec<NewEvent>, Error> {
    let keys = store::signing_keys::list(tx, false)?;
    let mut events = Vec::new();
    let [first, second] = fresh;
    if keys.is_empty() {
        publish(tx, master, entropy, algorithm, first, SigningKeyState::Active, &mut events)?;
    }
    if !has_next(&keys, algorithm) {
        publish(tx, master, entropy, algorithm, second, SigningKeyState::Next, &mut events)?;
    }
    Ok(events)
}

pub(super) fn has_next(keys: &[StoredSigningKey], algorithm: Algorithm) -> bool {
    keys.iter().any(|key| key.info.state == SigningKeyState::Next && key.info.algorithm == algorithm)
}

pub(super) fn publish(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Algorithm,
    der: &PrivateKeyDer,
    state: SigningKeyState,
    events: &mut Vec<NewEvent>,
) -> Result<SigningKeyInfo, Error> {
    let jwk = Signer::from_pkcs8(algorithm, der)?.jwk().clone();
    let sealed = master.seal(Purpose::SigningKey, jwk.kid.as_str(), der.expose(), entropy)?;
    let info = SigningKeyInfo {
        kid: jwk.kid.clone(),
        algorithm,
        state,
        published_at: tx.now(),
        activated_at: (state == SigningKeyState::Active).then(|| tx.now()),
        retired_at: None,
        removed_at: None,
        // It has signed nothing yet.
        longest_ttl: Span::ZERO,
        version: 1,
    };
    let stored = StoredSigningKey {
        info: info.clone(),
        public_jwk: serde_json::to_string(&jwk)?,
        sealed: Some((sealed.bytes, sealed.master_version)),
    };
    store::signing_keys::insert(tx, &stored)?;
    let kind =
        if state == SigningKeyState::Active { EventKind::SigningKeyActivated } else { EventKind::SigningKeyPublished };
    events.push(NewEvent::new(kind, &jwk.kid).with("algorithm", algorithm.as_str()));
    Ok(info)
}

pub(super) fn advance(
    tx: &mut Tx<'_>,
    key: &SigningKeyInfo,
    to: SigningKeyState,
    events: &mut Vec<NewEvent>,
) -> Result<(), Error> {
    if !store::signing_keys::advance(tx, key, to)? {
        return Err(Error::Conflict("another rotation was faster".to_owned()));
    }
    let kind = match to {
        SigningKeyState::Next => EventKind::SigningKeyPublished,
        SigningKeyState::Active => EventKind::SigningKeyActivated,
        SigningKeyState::Retiring => EventKind::SigningKeyRetired,
        SigningKeyState::Removed | SigningKeyState::Revoked => EventKind::SigningKeyRemoved,
    };
    events.push(NewEvent::new(kind, &key.kid).with("algorithm", key.algorithm.as_str()));
    Ok(())
}
