//! The signing keys in memory: what is published and what signs, as of the last look at the database.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::{
    crypto::{
        jwk::PublicJwk,
        master::MasterKeys,
        seal::{Purpose, Sealed},
        signer::PrivateKeyDer,
        token::{Minter, Verifier},
    },
    domain::{
        claims::Claims,
        id::SigningKeyId,
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
    },
    store::{Store, signing_keys::StoredSigningKey},
};

use super::{
    Error,
    publish::{self, Document},
};

/// The keys, replaced whole at each look.
pub struct KeyRing(ArcSwap<View>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

/// The keys as of one look.
pub struct View {
    pub published: Vec<(SigningKeyInfo, PublicJwk)>,
    minters: BTreeMap<SigningKeyId, (Algorithm, Arc<Minter>)>,
    verifiers: Vec<Verifier>,
    pub jwks: Document,
    seen_at: Instant,
    /// How old it may be and still sign (I6).
    fresh_for: Duration,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} published)", self.published.len())
    }
}

/// Why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    #[error("the view of the signing keys is too old: another replica may have rotated them")]
    Stale,
    #[error("no signing key is usable")]
    NoKey,
}

impl View {
    /// The key that signs: the active one of the algorithm in the configuration, or, until the first rotation to it, the
    /// active one there is.
    ///
    /// # Errors
    /// The view is too old, or no key can sign.
    pub fn signer(&self, preferred: Algorithm) -> Result<&Minter, CannotSign> {
        if !self.is_fresh() {
            return Err(CannotSign::Stale);
        }
        let of_preferred = self.minters.values().find(|(algorithm, _)| *algorithm == preferred);
        of_preferred
            .or_else(|| self.minters.values().next())
            .map(|(_, minter)| minter.as_ref())
            .ok_or(CannotSign::NoKey)
    }

    /// Whether it is young enough to sign by.
    pub fn is_fresh(&self) -> bool {
        self.age() <= self.fresh_for
    }

    pub fn age(&self) -> Duration {
        self.seen_at.elapsed()
    }

    /// The claims of a token of ours.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Option<Claims> {
        self.verifiers.iter().find_map(|verifier| verifier.verify(token, issuer, audience))
    }
}

impl KeyRing {
    /// Looks for the first time.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn open(store: &Store, master: &MasterKeys, fresh_for: Duration) -> Result<Self, Error> {
        Ok(Self(ArcSwap::from_pointee(look(store, master, fresh_for, &BTreeMap::new()).await?)))
    }

    pub fn view(&self) -> Arc<View> {
        self.0.load_full()
    }

    /// Looks again.
    ///
    /// # Errors
    /// The database does not answer; the view stays as it was, and ages.
    pub async fn refresh(&self, store: &Store, master: &MasterKeys) -> Result<(), Error> {
        let before = self.view();
        let view = look(store, master, before.fresh_for, &before.minters).await?;
        self.0.store(Arc::new(view));
        Ok(())
    }
}

async fn look(
    store: &Store,
    master: &MasterKeys,
    fresh_for: Duration,
    prepared: &BTreeMap<SigningKeyId, (Algorithm, Arc<Minter>)>,
) -> Result<View, Error> {
    // The view is as old as the question, not as the answer.
    let seen_at = Instant::now();
    let stored = store.read(|connection| crate::store::signing_keys::list(connection, true)).await?;
    let mut view = View {
        published: Vec::new(),
        minters: BTreeMap::new(),
        verifiers: Vec::new(),
        jwks: publish::jwks(&[])?,
        seen_at,
        fresh_for,
    };
    for key in stored {
        // One row that cannot be read must not take the others along.
        let Ok(jwk) = serde_json::from_str::<PublicJwk>(&key.public_jwk) else {
            tracing::error!(kid = %key.info.kid, "a signing key cannot be read");
            continue;
        };
        view.verifiers.extend(Verifier::new(&jwk));
        if key.info.state == SigningKeyState::Active {
            let minter = match prepared.get(&key.info.kid) {
                Some((_, minter)) => Some(Arc::clone(minter)),
                None => prepare(master, &key, &jwk).await,
            };
            if let Some(minter) = minter {
                view.minters.insert(key.info.kid.clone(), (key.info.algorithm, minter));
            }
        }
        view.published.push((key.info, jwk));
    }
    let jwks: Vec<_> = view.published.iter().map(|(_, jwk)| jwk).collect();
    view.jwks = publish::jwks(&jwks)?;
    Ok(view)
}

/// A key that does not open, or whose halves do not match, is told of and left out; the others keep working.
async fn prepare(master: &MasterKeys, key: &StoredSigningKey, jwk: &PublicJwk) -> Option<Arc<Minter>> {
    let usable = async {
        let (bytes, master_version) =
            key.sealed.clone().ok_or_else(|| Error::Internal("no private half".to_owned()))?;
        let sealed = Sealed { master_version, bytes };
        let der = master.open(Purpose::SigningKey, key.info.kid.as_str(), &sealed)?;
        let minter = Minter::prepare(key.info.algorithm, &PrivateKeyDer::new(&der)).await?;
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
