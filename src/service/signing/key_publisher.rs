//! Publication of signing keys.

use std::sync::Arc;

use crate::{
    crypto::{
        encryption::private_key_row,
        master_keys::MasterKeys,
        signer::{PrivateKeyDer, Signer},
    },
    domain::{
        common::{
            encryption::RowCipher as _,
            time::{Span, Timestamp},
        },
        events::{EventType, NewEvent},
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState},
    },
    service::{Error, Services, Unavailable},
    store::{
        self, Lock, Tx,
        signing::{
            manifest, signing_keys,
            stored_keys::{self, StoredSigningKey},
        },
    },
};

/// Private keys that are ready for publication. They are generated before the transaction begins:
/// generating an RSA key takes about a second, for which no locks should be held. Clones share the
/// private keys, so that a change can be repeated without copies of them.
#[derive(Clone)]
pub(crate) struct KeyPublisher {
    pub master_keys: MasterKeys,
    keys: Vec<(Algorithm, Arc<PrivateKeyDer>)>,
}

/// The state of a key after its publication.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication {
    state: SigningKeyState,
    /// Whether the publication counts as seen at once: no JWKS was fetched before it, so no second
    /// transaction has to see it.
    is_seen: bool,
}

impl Publication {
    /// The next key, which follows the active one.
    pub const NEXT: Self = Self { state: SigningKeyState::Next, is_seen: false };
    /// The keys of a new database, of which no verifier has cached a JWKS yet (invariant K10).
    const FIRST: [Self; 2] =
        [Self { state: SigningKeyState::Active, is_seen: true }, Self { state: SigningKeyState::Next, is_seen: true }];
}

impl KeyPublisher {
    pub const fn new(master_keys: MasterKeys, keys: Vec<(Algorithm, Arc<PrivateKeyDer>)>) -> Self {
        Self { master_keys, keys }
    }

    /// Generates a key for each of `algorithms`.
    pub async fn generate(services: &Services, algorithms: impl IntoIterator<Item = Algorithm>) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for algorithm in algorithms {
            keys.push((algorithm, generate(algorithm).await?));
        }
        Ok(Self::new(services.master_keys.clone(), keys))
    }

    /// Generates a key for each of `algorithms` that has no next key.
    pub async fn generate_missing(services: &Services, mut algorithms: Vec<Algorithm>) -> Result<Self, Error> {
        if !algorithms.is_empty() {
            let encryption = services.store.encryption();
            let found = services.store.read(move |connection| manifest::list(connection, &encryption)).await?;
            algorithms.retain(|algorithm| !has_next(&found.keys, *algorithm));
        }
        Self::generate(services, algorithms).await
    }

    /// Publishes one of the keys; `None` if there is no more key of `algorithm`.
    pub fn publish(
        &mut self,
        tx: &mut Tx<'_>,
        algorithm: Algorithm,
        publication: Publication,
        now: Timestamp,
    ) -> Result<Option<(SigningKeyMetadata, NewEvent)>, Error> {
        let Some(position) = self.keys.iter().position(|(of, _)| *of == algorithm) else { return Ok(None) };
        let (_, der) = self.keys.swap_remove(position);
        let jwk = Signer::from_pkcs8(algorithm, &der)?.jwk().clone();
        let encrypted = self.master_keys.encrypt(&private_key_row(jwk.kid.as_str()), der.expose(), tx.entropy())?;
        let is_active = publication.state == SigningKeyState::Active;
        let info = SigningKeyMetadata {
            kid: jwk.kid.clone(),
            algorithm,
            state: publication.state,
            published_at: now,
            seen_at: publication.is_seen.then_some(now),
            activated_at: is_active.then_some(now),
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
            encrypted_private_key: Some(encrypted),
        };
        signing_keys::insert(tx, &stored)?;
        let kind = if is_active { EventType::SigningKeyActivated } else { EventType::SigningKeyPublished };
        let event = signing_key_event(kind, &info);
        Ok(Some((info, event)))
    }

    /// Ensures that a next key of `algorithm` is published before an audience requires the
    /// algorithm. Returns `Error::Unavailable` if the next key that existed before the transaction
    /// is no longer next.
    pub fn ensure_next_key(&mut self, tx: &mut Tx<'_>, algorithm: Option<Algorithm>) -> Result<Vec<NewEvent>, Error> {
        let Some(algorithm) = algorithm else { return Ok(Vec::new()) };
        // Held until the audience is committed: no concurrent rotation can conclude that no
        // audience requires the algorithm.
        tx.lock(Lock::SigningKeys)?;
        if has_next(&manifest::list_for_change(tx)?, algorithm) {
            return Ok(Vec::new());
        }
        let now = store::now(tx)?;
        let published = self.publish(tx, algorithm, Publication::NEXT, now)?;
        let (_, event) = published.ok_or_else(concurrent_change)?;
        Ok(vec![event])
    }

    /// Publishes a next key of the configured algorithm if there is none. On a new database it also
    /// publishes the first key, which signs at once. Keys that were altered outside of Keyswap
    /// count as well: they must not keep it from starting with the others.
    pub fn ensure_signing_keys(&mut self, tx: &mut Tx<'_>, algorithm: Algorithm) -> Result<Vec<NewEvent>, Error> {
        tx.lock(Lock::SigningKeys)?;
        let keys = stored_keys::list_rows(tx)?;
        let publications: &[Publication] = match keys.as_slice() {
            [] if manifest::is_new(tx)? => &Publication::FIRST,
            keys if has_next(keys, algorithm) => &[],
            [..] => &[Publication::NEXT],
        };
        let (mut events, now) = (Vec::new(), store::now(tx)?);
        for publication in publications {
            events.extend(self.publish(tx, algorithm, *publication, now)?.map(|(_, event)| event));
        }
        Ok(events)
    }
}

/// Generates a private key on the blocking thread pool.
pub(crate) async fn generate(algorithm: Algorithm) -> Result<Arc<PrivateKeyDer>, Error> {
    let generated = tokio::task::spawn_blocking(move || Signer::generate(algorithm)).await;
    Ok(Arc::new(generated.map_err(Error::internal)??))
}

pub(crate) fn has_next(keys: &[StoredSigningKey], algorithm: Algorithm) -> bool {
    keys.iter().any(|key| key.info.state == SigningKeyState::Next && key.info.algorithm == algorithm)
}

pub(crate) fn signing_key_event(kind: EventType, key: &SigningKeyMetadata) -> NewEvent {
    NewEvent::new(kind, &key.kid).with_data("algorithm", key.algorithm.as_str())
}

pub(crate) fn concurrent_change() -> Error {
    Error::Unavailable(Unavailable::SigningKeysChanged)
}
