//! The transitions of signing keys within a transaction, each with its event.

use std::collections::BTreeMap;

use crate::{
    crypto::{
        encryption::SecretKind,
        master_keys::MasterKeys,
        random::SystemEntropy,
        signer::{PrivateKeyDer, Signer},
    },
    domain::{
        common::{
            derived_id::SigningKeyId,
            time::{Span, Timestamp},
        },
        events::{EventType, NewEvent},
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState, rotation::RotationStep},
    },
    service::{
        Error, Services,
        signing::{key_snapshot, loaded::Looked},
    },
    store::{self, StoreError, Tx, signing::signing_keys::StoredSigningKey},
};

/// The dependencies of key publication, owned so that they can move into a transaction on another
/// thread. Private keys are generated before the transaction begins: generating an RSA key takes
/// about a second, for which no locks should be held.
pub(crate) struct Press {
    master: MasterKeys,
    entropy: SystemEntropy,
    fresh: BTreeMap<Algorithm, PrivateKeyDer>,
}

impl Press {
    pub async fn generate_for(
        services: &Services,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, Error> {
        let mut fresh = BTreeMap::new();
        for algorithm in algorithms {
            fresh.insert(algorithm, generate(algorithm).await?);
        }
        Ok(Self { master: services.master.clone(), entropy: services.entropy.clone(), fresh })
    }

    /// Whether `key` can sign with the master keys of this process.
    pub fn can_sign_with(&self, key: &StoredSigningKey) -> bool {
        key_snapshot::is_usable_for_signing(&self.master, key)
    }

    /// Publishes a next key of `algorithm`; `None` if no private key was generated for it.
    pub fn publish(
        &mut self,
        tx: &mut Tx<'_>,
        algorithm: Algorithm,
        at: Timestamp,
        events: &mut Vec<NewEvent>,
    ) -> Result<Option<SigningKeyMetadata>, Error> {
        let Some(der) = self.fresh.remove(&algorithm) else { return Ok(None) };
        publish(tx, &self.master, &self.entropy, algorithm, &der, Publication::next(at), events).map(Some)
    }
}

/// Executes the steps due at `now`, in the order of the plan. The publication of a key that was not
/// generated is left to the next run.
pub(crate) fn execute_due_steps(
    tx: &mut Tx<'_>,
    looked: &Looked,
    now: Timestamp,
    unusable: &[SigningKeyId],
    press: &mut Press,
) -> Result<Vec<NewEvent>, Error> {
    let mut events = Vec::new();
    let due = looked.due(now, unusable);
    // Before the publications below: this transaction cannot mark its own publications as seen.
    if due.iter().any(|planned| matches!(planned.step, RotationStep::ConfirmPublication(_))) {
        store::signing::signing_keys::record_first_observation(tx, now)?;
    }
    for planned in due {
        let find = |kid: &SigningKeyId| looked.keys.iter().find(|key| key.kid == *kid);
        match &planned.step {
            RotationStep::Publish(algorithm) => drop(press.publish(tx, *algorithm, now, &mut events)?),
            RotationStep::ConfirmPublication(_) => {}
            RotationStep::Activate(kid) => {
                if let Some(key) = find(kid) {
                    activate(tx, looked, key, now, &mut events)?;
                    press.publish(tx, key.algorithm, now, &mut events)?;
                }
            }
            RotationStep::Retire(kid) => {
                if let Some(key) = find(kid) {
                    advance(tx, key, SigningKeyState::Retiring, now, &mut events)?;
                }
            }
            RotationStep::DestroyPrivateKey(kid) => {
                if let Some(key) = find(kid)
                    && store::signing::signing_keys::destroy_private_key(tx, key, now)?
                {
                    events.push(event(EventType::SigningKeyDestroyed, key));
                }
            }
            RotationStep::Remove(kid) => {
                if let Some(key) = find(kid) {
                    advance(tx, key, SigningKeyState::Removed, now, &mut events)?;
                }
            }
        }
    }
    Ok(events)
}

/// Activates a next key and retires the active key of its algorithm. The recorded longest token
/// lifetime of active keys rises to the longest that any replica allows.
pub(crate) fn activate(
    tx: &mut Tx<'_>,
    looked: &Looked,
    next: &SigningKeyMetadata,
    now: Timestamp,
    events: &mut Vec<NewEvent>,
) -> Result<(), Error> {
    let signs = |key: &&SigningKeyMetadata| key.state == SigningKeyState::Active && key.algorithm == next.algorithm;
    for key in looked.keys.iter().filter(signs) {
        advance(tx, key, SigningKeyState::Retiring, now, events)?;
    }
    advance(tx, next, SigningKeyState::Active, now, events)?;
    Ok(store::signing::signing_keys::raise_max_token_ttl(tx, looked.rules.timing.max_ttl)?)
}

/// The parameters of a publication.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication {
    state: SigningKeyState,
    at: Timestamp,
    /// Whether the publication counts as seen at once: no JWKS was fetched before it, so no second
    /// transaction has to see it.
    seen: bool,
}

impl Publication {
    /// The next key, which follows the active one.
    pub const fn next(at: Timestamp) -> Self {
        Self { state: SigningKeyState::Next, at, seen: false }
    }

    /// For a new database: no verifier has cached a JWKS yet (invariant K10).
    const fn first(state: SigningKeyState, at: Timestamp) -> Self {
        Self { state, at, seen: true }
    }
}

/// Generates a private key on the blocking thread pool.
pub(crate) async fn generate(algorithm: Algorithm) -> Result<PrivateKeyDer, Error> {
    let made = tokio::task::spawn_blocking(move || Signer::generate(algorithm)).await;
    Ok(made.map_err(|error| Error::Internal(error.to_string()))??)
}

/// Publishes a next key of the configured algorithm if there is none. On a new database it also
/// publishes the first key, which signs at once: no verifier has cached a JWKS yet (invariant K10).
pub(crate) fn ensure_signing_keys(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Algorithm,
    fresh: &[PrivateKeyDer; 2],
) -> Result<Vec<NewEvent>, Error> {
    let keys = store::signing::signing_keys::list(tx, false)?;
    let (mut events, now) = (Vec::new(), store::now(tx)?);
    let [first, second] = fresh;
    let next = if keys.is_empty() {
        let signs = Publication::first(SigningKeyState::Active, now);
        publish(tx, master, entropy, algorithm, first, signs, &mut events)?;
        Publication::first(SigningKeyState::Next, now)
    } else {
        Publication::next(now)
    };
    if !has_next(&keys, algorithm) {
        publish(tx, master, entropy, algorithm, second, next, &mut events)?;
    }
    Ok(events)
}

pub(crate) fn has_next(keys: &[StoredSigningKey], algorithm: Algorithm) -> bool {
    keys.iter().any(|key| key.info.state == SigningKeyState::Next && key.info.algorithm == algorithm)
}

pub(crate) fn publish(
    tx: &mut Tx<'_>,
    master: &MasterKeys,
    entropy: &SystemEntropy,
    algorithm: Algorithm,
    der: &PrivateKeyDer,
    how: Publication,
    events: &mut Vec<NewEvent>,
) -> Result<SigningKeyMetadata, Error> {
    let jwk = Signer::from_pkcs8(algorithm, der)?.jwk().clone();
    let sealed = master.seal(SecretKind::SigningKey, jwk.kid.as_str(), der.expose(), entropy)?;
    let is_active = how.state == SigningKeyState::Active;
    let info = SigningKeyMetadata {
        kid: jwk.kid.clone(),
        algorithm,
        state: how.state,
        published_at: how.at,
        seen_at: how.seen.then_some(how.at),
        activated_at: is_active.then_some(how.at),
        retired_at: None,
        removed_at: None,
        destroyed_at: None,
        // The key has signed nothing yet.
        longest_ttl: Span::ZERO,
        version: 1,
    };
    let stored = StoredSigningKey {
        info: info.clone(),
        public_jwk: serde_json::to_string(&jwk)?,
        encrypted_private_key: Some((sealed.bytes, sealed.master_version)),
    };
    store::signing::signing_keys::insert(tx, &stored)?;
    let kind = if is_active { EventType::SigningKeyActivated } else { EventType::SigningKeyPublished };
    events.push(event(kind, &info));
    Ok(info)
}

pub(crate) fn advance(
    tx: &mut Tx<'_>,
    key: &SigningKeyMetadata,
    to: SigningKeyState,
    at: Timestamp,
    events: &mut Vec<NewEvent>,
) -> Result<(), Error> {
    match store::signing::signing_keys::transition_state(tx, key, to, at) {
        Ok(true) => {}
        Ok(false) | Err(StoreError::Conflict(_)) => {
            return Err(Error::Conflict("another rotation was faster".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    let kind = match to {
        SigningKeyState::Next => EventType::SigningKeyPublished,
        SigningKeyState::Active => EventType::SigningKeyActivated,
        SigningKeyState::Retiring => EventType::SigningKeyRetired,
        SigningKeyState::Removed => EventType::SigningKeyRemoved,
        SigningKeyState::Revoked => EventType::SigningKeyRevoked,
    };
    events.push(event(kind, key));
    Ok(())
}

fn event(kind: EventType, key: &SigningKeyMetadata) -> NewEvent {
    NewEvent::new(kind, &key.kid).with_data("algorithm", key.algorithm.as_str())
}
