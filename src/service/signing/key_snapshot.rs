//! The signing keys as one refresh read them.

use crate::{
    crypto::{
        encryption::{Encrypted, SecretKind},
        jwk::PublicJwk,
        master_keys::MasterKeys,
        signer::{PrivateKeyDer, Signer},
        token::{TokenSigner, TokenVerifier},
    },
    domain::{
        access::token_profile::TokenTypeHeader,
        common::{derived_id::SigningKeyId, time::Timestamp},
        exchange::claims::Claims,
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState},
    },
    service::{Error, common::document::CachedDocument, signing::jwk_set},
    store::{self, Store, StoreError, signing::signing_keys::StoredSigningKey},
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

pub(crate) type PreparedSigners = BTreeMap<SigningKeyId, (Algorithm, Arc<TokenSigner>)>;

/// A snapshot of the signing keys.
pub struct KeySnapshot {
    pub published: Vec<(SigningKeyMetadata, PublicJwk)>,
    /// The algorithms that audiences require.
    pub asked: BTreeSet<Algorithm>,
    pub(crate) signers: PreparedSigners,
    /// Next keys that are prepared for signing. They do not sign yet.
    pub(crate) waiting: PreparedSigners,
    /// The fallback key. It signs if neither the wanted nor the configured algorithm has an active
    /// key.
    fallback_key: Option<SigningKeyId>,
    verifiers: Vec<TokenVerifier>,
    pub jwks: CachedDocument,
    /// One JWKS for each algorithm, with the keys of this algorithm only.
    pub jwks_by_algorithm: BTreeMap<Algorithm, CachedDocument>,
    /// Active and next keys that cannot sign, and published keys whose public half cannot be
    /// parsed.
    pub unusable: Vec<SigningKeyId>,
    /// Shared with all snapshots. Set while an operator must decide whether signing may continue.
    halted: Arc<AtomicBool>,
    pub(crate) seen_at: Instant,
    /// Sum of the versions of all signing keys. It never decreases, except in a rolled back
    /// database.
    pub(crate) generation: i64,
    /// The database's clock at the refresh.
    as_of: Timestamp,
    /// The machine's clock at the refresh.
    pub(crate) machine_time: Timestamp,
    /// Maximum age of a snapshot that signs (invariant K5).
    pub(crate) fresh_for: Duration,
}

impl fmt::Debug for KeySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} published)", self.published.len())
    }
}

/// The reason why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningUnavailable {
    #[error("the view of the signing keys is too old: another replica may have rotated them")]
    StaleSnapshot,
    #[error("no signing key is usable")]
    NoKey,
    #[error("the database looks like an old backup: see `keyswap restore status`")]
    Restored,
}

impl SigningUnavailable {
    /// Returns the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StaleSnapshot => "stale",
            Self::NoKey => "no_key",
            Self::Restored => "restored",
        }
    }
}

impl KeySnapshot {
    /// Returns the key that signs: the active key of the wanted algorithm, else of the configured
    /// one, else the fallback key, which signs until the first rotation to the configured
    /// algorithm.
    ///
    /// Returns an error if signing is halted, if the snapshot is too old, or if no key can sign.
    /// The age is measured by the clock of the process and by the database's clock at `now`: the
    /// clock of a suspended process does not advance.
    pub fn signer(
        &self,
        wanted: Option<Algorithm>,
        configured: Algorithm,
        now: Timestamp,
    ) -> Result<&TokenSigner, SigningUnavailable> {
        if self.is_halted() {
            return Err(SigningUnavailable::Restored);
        }
        if !self.is_fresh_at(now) {
            return Err(SigningUnavailable::StaleSnapshot);
        }
        self.find_signer(wanted, configured).map(|(_, minter)| minter.as_ref()).ok_or(SigningUnavailable::NoKey)
    }

    /// Returns the algorithm of the key that `signer` selects, or `None` if no key can sign. The
    /// age of the snapshot does not matter.
    pub fn signs_with(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<Algorithm> {
        self.find_signer(wanted, configured).map(|(algorithm, _)| *algorithm)
    }

    fn find_signer(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<&(Algorithm, Arc<TokenSigner>)> {
        let of = |wanted: Algorithm| self.signers.values().find(|(algorithm, _)| *algorithm == wanted);
        wanted.and_then(of).or_else(|| of(configured)).or_else(|| self.signers.get(self.fallback_key.as_ref()?))
    }

    /// Like `signer` for the configured algorithm, if the current time of the database is not
    /// available. Only the clock of the process limits the age of the snapshot.
    pub fn select_signer_at_refresh(&self, configured: Algorithm) -> Result<&TokenSigner, SigningUnavailable> {
        self.signer(None, configured, self.as_of)
    }

    pub(crate) fn is_fresh_at(&self, now: Timestamp) -> bool {
        self.is_fresh() && now.elapsed_since(self.as_of).duration() <= self.fresh_for
    }

    /// Returns whether the snapshot is young enough to sign, by the clock of the process.
    pub fn is_fresh(&self) -> bool {
        self.age() <= self.fresh_for
    }

    /// Returns whether an operator must decide before anything is signed and before any key changes
    /// state.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub fn age(&self) -> Duration {
        self.seen_at.elapsed()
    }

    /// Verifies a token for `audience` with the published keys and returns its claims.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Option<Claims> {
        self.verifiers.iter().find_map(|verifier| verifier.verify(token, issuer, audience))
    }

    /// Verifies a token for any audience with the published keys and returns its `typ` and claims.
    pub fn verify_any(&self, token: &str, issuer: &str) -> Option<(TokenTypeHeader, Claims)> {
        self.verifiers.iter().find_map(|verifier| verifier.verify_any(token, issuer))
    }
}

pub(crate) async fn look(
    store: &Store,
    master: &MasterKeys,
    fresh_for: Duration,
    prepared: &PreparedSigners,
    halted: Arc<AtomicBool>,
    machine_time: Timestamp,
) -> Result<KeySnapshot, Error> {
    // The age of a snapshot counts from the start of the query.
    let seen_at = Instant::now();
    let (as_of, stored, asked) = store
        .read(|connection| {
            let now = store::now(connection)?;
            let keys = store::signing::signing_keys::list(connection, false)?;
            Ok::<_, StoreError>((now, keys, store::access::audiences::list_required_algorithms(connection)?))
        })
        .await?;
    let mut view = KeySnapshot {
        published: Vec::new(),
        asked,
        signers: PreparedSigners::new(),
        waiting: PreparedSigners::new(),
        fallback_key: None,
        verifiers: Vec::new(),
        jwks: jwk_set::jwks(&[])?,
        jwks_by_algorithm: BTreeMap::new(),
        unusable: Vec::new(),
        halted,
        seen_at,
        generation: stored.iter().map(|key| key.info.version).sum(),
        as_of,
        machine_time,
        fresh_for,
    };
    let mut first_of = BTreeMap::new();
    for key in stored {
        // The rows are ordered by publication time, so the first row of an algorithm is its
        // earliest.
        first_of.entry(key.info.algorithm).or_insert(key.info.published_at);
        if !key.info.state.is_published() {
            continue;
        }
        // A row that cannot be parsed must not affect the other keys.
        let Ok(jwk) = serde_json::from_str::<PublicJwk>(&key.public_jwk) else {
            tracing::error!(kid = %key.info.kid, "a signing key cannot be read");
            view.unusable.push(key.info.kid);
            continue;
        };
        view.verifiers.extend(TokenVerifier::new(&jwk));
        if matches!(key.info.state, SigningKeyState::Active | SigningKeyState::Next) {
            // A next key that cannot sign is reported before it becomes active.
            let is_next = key.info.state == SigningKeyState::Next;
            let signers = if is_next { &mut view.waiting } else { &mut view.signers };
            // A prepared key is reused if its public half is unchanged. The private half of a next
            // key is decrypted at each refresh, because its row may have been altered since.
            let known = prepared.get(&key.info.kid).filter(|(_, known)| *known.jwk() == jwk);
            let minter = match known.filter(|_| !is_next || open(master, &key).is_ok()) {
                Some((_, minter)) => Some(Arc::clone(minter)),
                None => prepare(master, &key, &jwk).await,
            };
            if let Some(minter) = minter {
                signers.insert(key.info.kid.clone(), (key.info.algorithm, minter));
            } else {
                view.unusable.push(key.info.kid.clone());
            }
        }
        view.published.push((key.info, jwk));
    }
    let jwks: Vec<_> = view.published.iter().map(|(_, jwk)| jwk).collect();
    view.jwks = jwk_set::jwks(&jwks)?;
    for algorithm in Algorithm::ALL {
        let of_algorithm: Vec<_> = jwks.iter().copied().filter(|jwk| jwk.alg == algorithm).collect();
        view.jwks_by_algorithm.insert(algorithm, jwk_set::jwks(&of_algorithm)?);
    }
    view.fallback_key = fallback_key(&view, &first_of);
    Ok(view)
}

/// Selects the fallback key among the active keys that can sign. Prefers algorithms that no
/// audience requires, and among these the one that was published first: it is most likely the
/// previously configured one.
pub(crate) fn fallback_key(view: &KeySnapshot, first_of: &BTreeMap<Algorithm, Timestamp>) -> Option<SigningKeyId> {
    let signing = view.published.iter().map(|(info, _)| info).filter(|info| view.signers.contains_key(&info.kid));
    let first = signing.min_by_key(|info| (view.asked.contains(&info.algorithm), first_of.get(&info.algorithm)));
    first.map(|info| info.kid.clone())
}

/// Prepares a key for signing. A key that cannot be decrypted, or whose halves do not match, is
/// logged and left out. The other keys remain in use.
pub(crate) async fn prepare(master: &MasterKeys, key: &StoredSigningKey, jwk: &PublicJwk) -> Option<Arc<TokenSigner>> {
    let usable = async {
        let der = open(master, key)?;
        let minter = TokenSigner::prepare(key.info.algorithm, &PrivateKeyDer::new(&der)).await?;
        if minter.jwk() == jwk { Ok(minter) } else { Err(Error::Internal("the halves do not match".to_owned())) }
    };
    match usable.await {
        Ok(minter) => Some(Arc::new(minter)),
        Err(error) => {
            tracing::error!(kid = %key.info.kid, %error, "a signing key cannot be used");
            None
        }
    }
}

/// Returns whether a key can sign: its private half can be decrypted and matches its published
/// half.
pub(crate) fn is_usable_for_signing(master: &MasterKeys, key: &StoredSigningKey) -> bool {
    let signer =
        open(master, key).and_then(|der| Ok(Signer::from_pkcs8(key.info.algorithm, &PrivateKeyDer::new(&der))?));
    let jwk = serde_json::from_str::<PublicJwk>(&key.public_jwk);
    signer.is_ok_and(|signer| jwk.is_ok_and(|jwk| *signer.jwk() == jwk))
}

pub(crate) fn open(master: &MasterKeys, key: &StoredSigningKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (bytes, master_version) =
        key.encrypted_private_key.clone().ok_or_else(|| Error::Internal("no private half".to_owned()))?;
    let sealed = Encrypted { master_version, bytes };
    Ok(master.open(SecretKind::SigningKey, key.info.kid.as_str(), &sealed)?)
}
