//! The signing keys as one refresh read them.

use crate::{
    crypto::{
        encryption::private_key_row,
        jwk::PublicJwk,
        master_keys::MasterKeys,
        signer::{PrivateKeyDer, Signer},
        token::{TokenSigner, TokenVerifier},
    },
    domain::{
        access::token_profile::TokenTypeHeader,
        common::{derived_id::SigningKeyId, encryption::RowCipher as _, time::Timestamp},
        exchange::claims::Claims,
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState},
    },
    service::{Error, Unavailable, common::document::CachedDocument},
    store::{
        self, Clock, Store, StoreError,
        signing::{manifest::AuthenticSigningKeys, stored_keys::StoredSigningKey},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// A snapshot of the signing keys.
pub struct KeySnapshot {
    pub published: Vec<(SigningKeyMetadata, PublicJwk)>,
    /// The active and next keys, prepared for signing. Next keys do not sign yet.
    signers: Vec<(SigningKeyState, Arc<TokenSigner>)>,
    /// The fallback key. It signs if neither the requested nor the configured algorithm has an
    /// active key.
    fallback_key: Option<Arc<TokenSigner>>,
    /// The published keys, as verifiers of tokens.
    verifiers: Vec<(SigningKeyId, TokenVerifier)>,
    pub jwks: CachedDocument,
    /// One JWKS for each algorithm, with the keys of this algorithm only.
    pub jwks_by_algorithm: BTreeMap<Algorithm, CachedDocument>,
    /// Active and next keys that cannot sign, and published keys whose public half cannot be
    /// parsed.
    pub unusable: Vec<SigningKeyId>,
    /// Shared with all snapshots. Set while an operator must decide whether signing may continue.
    halted: Arc<AtomicBool>,
    pub(crate) seen_at: Instant,
    /// Keys whose rows were altered outside of Keyswap. They are neither published nor trusted.
    pub(crate) altered: BTreeSet<SigningKeyId>,
    /// The counter of the manifest. It never decreases, except in a rolled back database.
    pub(crate) counter: i64,
    /// The database's clock at the refresh.
    as_of: Timestamp,
    /// The machine's clock at the refresh.
    pub(crate) machine_time: Timestamp,
    /// Maximum age of a snapshot that signs (invariant K5).
    max_age: Duration,
}

impl fmt::Debug for KeySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySnapshot({} published)", self.published.len())
    }
}

impl KeySnapshot {
    /// Returns the key that signs: the active key of the requested algorithm, else of the
    /// configured one, else the fallback key, which signs until the first rotation to the
    /// configured algorithm.
    ///
    /// Returns an error if signing is halted, if the snapshot is too old, or if no key can sign.
    /// The age is measured by the clock of the process and by the database's clock at `now`: the
    /// clock of a suspended process does not advance.
    pub fn signer(
        &self,
        requested: Option<Algorithm>,
        configured: Algorithm,
        now: Timestamp,
    ) -> Result<&TokenSigner, Unavailable> {
        if self.is_halted() {
            return Err(Unavailable::RolledBack);
        }
        if !self.is_fresh_at(now) {
            return Err(Unavailable::StaleSigningKeys);
        }
        self.find_signer(requested, configured).ok_or(Unavailable::NoSigningKey)
    }

    /// Returns the algorithm of the key that `signer` selects, or `None` if no key can sign. The
    /// age of the snapshot does not matter.
    pub fn signs_with(&self, requested: Option<Algorithm>, configured: Algorithm) -> Option<Algorithm> {
        self.find_signer(requested, configured).map(|signer| signer.jwk().alg)
    }

    fn find_signer(&self, requested: Option<Algorithm>, configured: Algorithm) -> Option<&TokenSigner> {
        let of = |algorithm: Algorithm| self.active_signers().find(|signer| signer.jwk().alg == algorithm);
        requested.and_then(of).or_else(|| of(configured)).or(self.fallback_key.as_ref()).map(Arc::as_ref)
    }

    fn active_signers(&self) -> impl Iterator<Item = &Arc<TokenSigner>> {
        self.signers.iter().filter(|(state, _)| *state == SigningKeyState::Active).map(|(_, signer)| signer)
    }

    /// Like `signer` for the configured algorithm, if the current time of the database is not
    /// available. Only the clock of the process limits the age of the snapshot.
    pub fn select_signer_at_refresh(&self, configured: Algorithm) -> Result<&TokenSigner, Unavailable> {
        self.signer(None, configured, self.as_of)
    }

    pub(crate) fn is_fresh_at(&self, now: Timestamp) -> bool {
        self.is_fresh() && now.elapsed_since(self.as_of).duration() <= self.max_age
    }

    /// Returns whether the snapshot is young enough to sign, by the clock of the process.
    pub fn is_fresh(&self) -> bool {
        self.age() <= self.max_age
    }

    /// Returns whether an operator must decide before anything is signed and before any key changes
    /// state.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub fn age(&self) -> Duration {
        self.seen_at.elapsed()
    }

    /// Verifies a token for `audience` with the published keys. Returns the key that verifies it,
    /// and its claims.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Option<(&SigningKeyMetadata, Claims<'static>)> {
        self.verify_with(|verifier| verifier.verify(token, issuer, audience))
    }

    /// Like `verify`, for a token for any audience. Returns its `typ` as well.
    pub fn verify_any(
        &self,
        token: &str,
        issuer: &str,
    ) -> Option<(&SigningKeyMetadata, (TokenTypeHeader, Claims<'static>))> {
        self.verify_with(|verifier| verifier.verify_any(token, issuer))
    }

    fn verify_with<T>(&self, verify: impl Fn(&TokenVerifier) -> Option<T>) -> Option<(&SigningKeyMetadata, T)> {
        let (kid, verified) = self.verifiers.iter().find_map(|(kid, one)| Some((kid, verify(one)?)))?;
        Some((self.find_published(kid)?, verified))
    }

    /// Returns the metadata of a published key.
    pub fn find_published(&self, kid: &SigningKeyId) -> Option<&SigningKeyMetadata> {
        self.published.iter().map(|(info, _)| info).find(|info| info.kid == *kid)
    }
}

/// Loads snapshots of the signing keys.
#[derive(Debug)]
pub(crate) struct SnapshotLoader {
    pub(crate) store: Store,
    pub(crate) master_keys: MasterKeys,
    pub(crate) max_age: Duration,
    /// The machine's clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Shared with all snapshots.
    pub(crate) halted: Arc<AtomicBool>,
}

impl SnapshotLoader {
    /// Prepared keys of the previous snapshot are reused.
    pub(crate) async fn load(&self, previous: Option<&KeySnapshot>) -> Result<KeySnapshot, Error> {
        // The age of a snapshot counts from the start of the query.
        let (seen_at, machine_time) = (Instant::now(), self.clock.now());
        let (encryption, is_first) = (self.store.encryption(), previous.is_none());
        let (as_of, stored, required) = self
            .store
            .read_at(move |connection, now| {
                let keys = match store::signing::manifest::list(connection, &encryption) {
                    // A server does not start with this; a command can repair it.
                    Err(StoreError::Altered { .. }) if is_first => AuthenticSigningKeys::default(),
                    found => found?,
                };
                Ok::<_, StoreError>((now, keys, store::access::audiences::list_required_algorithms(connection)?))
            })
            .await?;
        let mut snapshot = KeySnapshot {
            published: Vec::new(),
            signers: Vec::new(),
            fallback_key: None,
            verifiers: Vec::new(),
            jwks: CachedDocument::default(),
            jwks_by_algorithm: BTreeMap::new(),
            unusable: Vec::new(),
            halted: Arc::clone(&self.halted),
            seen_at,
            altered: stored.altered,
            counter: stored.counter,
            as_of,
            machine_time,
            max_age: self.max_age,
        };
        for kid in &snapshot.altered {
            if !previous.is_some_and(|previous| previous.altered.contains(kid)) {
                tracing::error!(%kid, "a signing key was altered outside of Keyswap; see `keyswap integrity list`");
            }
        }
        let mut first_published = BTreeMap::new();
        for key in stored.keys {
            // The rows are ordered by publication time, so the first row of an algorithm is its
            // earliest.
            first_published.entry(key.info.algorithm).or_insert(key.info.published_at);
            if key.info.state.is_published() {
                self.add_key(&mut snapshot, key, previous).await;
            }
        }
        let published = || snapshot.published.iter().map(|(_, jwk)| jwk);
        snapshot.jwks = build_jwks(published())?;
        for algorithm in Algorithm::ALL {
            let document = build_jwks(published().filter(|jwk| jwk.alg == algorithm))?;
            snapshot.jwks_by_algorithm.insert(algorithm, document);
        }
        // Algorithms that no audience requires are preferred, and among these the one that was
        // published first: it is most likely the previously configured one.
        let rank = |algorithm| (required.contains(&algorithm), first_published.get(&algorithm));
        snapshot.fallback_key = snapshot.active_signers().min_by_key(|signer| rank(signer.jwk().alg)).cloned();
        Ok(snapshot)
    }

    /// A key that cannot be parsed or prepared does not affect the other keys.
    async fn add_key(&self, snapshot: &mut KeySnapshot, key: StoredSigningKey, previous: Option<&KeySnapshot>) {
        let Ok(jwk) = serde_json::from_str::<PublicJwk>(&key.public_jwk) else {
            tracing::error!(kid = %key.info.kid, "failed to parse a signing key");
            snapshot.unusable.push(key.info.kid);
            return;
        };
        let verifier = TokenVerifier::new(&jwk);
        snapshot.verifiers.extend(verifier.map(|verifier| (key.info.kid.clone(), verifier)));
        if matches!(key.info.state, SigningKeyState::Active | SigningKeyState::Next) {
            // A next key that cannot sign is reported before it becomes active.
            let is_next = key.info.state == SigningKeyState::Next;
            // A prepared key is reused if its public half is unchanged. The private half of a next
            // key is decrypted at each refresh, because its row may have been altered since.
            let mut known = previous.into_iter().flat_map(|previous| &previous.signers).map(|(_, signer)| signer);
            let known = known.find(|known| *known.jwk() == jwk);
            let signer = match known.filter(|_| !is_next || decrypt(&self.master_keys, &key).is_ok()) {
                Some(signer) => Some(Arc::clone(signer)),
                None => self.prepare_signer(&key, &jwk).await,
            };
            match signer {
                Some(signer) => snapshot.signers.push((key.info.state, signer)),
                None => snapshot.unusable.push(key.info.kid.clone()),
            }
        }
        snapshot.published.push((key.info, jwk));
    }

    /// Prepares a key for signing. A key that cannot be decrypted, or whose halves do not match, is
    /// logged and left out.
    async fn prepare_signer(&self, key: &StoredSigningKey, jwk: &PublicJwk) -> Option<Arc<TokenSigner>> {
        let prepared = async {
            let der = decrypt(&self.master_keys, key)?;
            let signer = TokenSigner::prepare(key.info.algorithm, &PrivateKeyDer::new(&der)).await?;
            if signer.jwk() == jwk { Ok(signer) } else { Err(Error::internal("its halves do not match")) }
        };
        let prepared = prepared.await;
        prepared
            .inspect_err(|error| tracing::error!(kid = %key.info.kid, %error, "failed to prepare a signing key"))
            .ok()
            .map(Arc::new)
    }
}

/// Returns the JWK set (RFC 7517 §5) of a list of keys.
pub(crate) fn build_jwks<'a>(keys: impl IntoIterator<Item = &'a PublicJwk>) -> Result<CachedDocument, Error> {
    CachedDocument::new(&BTreeMap::from([("keys", keys.into_iter().collect::<Vec<_>>())]))
}

/// Returns whether a key can sign: its private half can be decrypted and matches its published
/// half.
pub(crate) fn is_usable_for_signing(master_keys: &MasterKeys, key: &StoredSigningKey) -> bool {
    let signer = decrypt(master_keys, key)
        .and_then(|der| Ok(Signer::from_pkcs8(key.info.algorithm, &PrivateKeyDer::new(&der))?));
    let jwk = serde_json::from_str::<PublicJwk>(&key.public_jwk);
    signer.is_ok_and(|signer| jwk.is_ok_and(|jwk| *signer.jwk() == jwk))
}

fn decrypt(master_keys: &MasterKeys, key: &StoredSigningKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let encrypted = key.encrypted_private_key.as_ref().ok_or_else(|| Error::internal("no private half"))?;
    Ok(master_keys.decrypt(&private_key_row(key.info.kid.as_str()), encrypted)?)
}
