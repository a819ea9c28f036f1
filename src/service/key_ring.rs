//! In-memory snapshot of the signing keys: the published keys and the signing keys as of the last
//! refresh from the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use zeroize::Zeroizing;

use crate::{
    crypto::{
        jwk::PublicJwk,
        master::MasterKeys,
        seal::{Purpose, Sealed},
        signer::{PrivateKeyDer, Signer},
        token::{Minter, Verifier},
    },
    domain::{
        claims::Claims,
        id::SigningKeyId,
        signing::{Algorithm, SigningKeyInfo, SigningKeyState},
        time::Timestamp,
        token_shape::Typ,
    },
    store::{self, Clock, Store, StoreError, signing_keys::StoredSigningKey},
};

use super::{
    Error,
    publish::{self, Document},
};

/// The signing keys. Each refresh replaces the snapshot as a whole.
pub struct KeyRing {
    view: ArcSwap<View>,
    /// The machine's clock.
    clock: Arc<dyn Clock>,
    /// Shared with all snapshots.
    halted: Arc<AtomicBool>,
    /// Held during a refresh of an outdated snapshot. Other requests wait for its result.
    looking: Mutex<()>,
    /// Set when an operator has accepted a rolled back database. The next refresh accepts a lower
    /// generation.
    accepted: AtomicBool,
    /// Time of the last failed refresh that a request has waited for, by a monotonic clock.
    failed_at: std::sync::Mutex<Option<Duration>>,
}

/// Maximum time that a request waits for a refresh. No request waits again for this time after a
/// failure.
const LOOK_FOR: Duration = Duration::from_secs(1);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

type Minters = BTreeMap<SigningKeyId, (Algorithm, Arc<Minter>)>;

/// A snapshot of the signing keys.
pub struct View {
    pub published: Vec<(SigningKeyInfo, PublicJwk)>,
    /// The algorithms that audiences require.
    pub asked: BTreeSet<Algorithm>,
    minters: Minters,
    /// Next keys that are prepared for signing. They do not sign yet.
    waiting: Minters,
    /// The fallback key. It signs if neither the wanted nor the configured algorithm has an active
    /// key.
    stand_in: Option<SigningKeyId>,
    verifiers: Vec<Verifier>,
    pub jwks: Document,
    /// One JWKS for each algorithm, with the keys of this algorithm only.
    pub jwks_of: BTreeMap<Algorithm, Document>,
    /// Active and next keys that cannot sign, and published keys whose public half cannot be
    /// parsed.
    pub unusable: Vec<SigningKeyId>,
    /// Shared with all snapshots. Set while an operator must decide whether signing may continue.
    halted: Arc<AtomicBool>,
    seen_at: Instant,
    /// Sum of the versions of all signing keys. It never decreases, except in a rolled back
    /// database.
    generation: i64,
    /// The database's clock at the refresh.
    as_of: Timestamp,
    /// The machine's clock at the refresh.
    machine_at: Timestamp,
    /// Maximum age of a snapshot that signs (invariant K5).
    fresh_for: Duration,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} published)", self.published.len())
    }
}

/// The reason why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    #[error("the view of the signing keys is too old: another replica may have rotated them")]
    Stale,
    #[error("no signing key is usable")]
    NoKey,
    #[error("the database looks like an old backup: see `keyswap restore status`")]
    Restored,
}

impl CannotSign {
    /// Returns the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NoKey => "no_key",
            Self::Restored => "restored",
        }
    }
}

impl View {
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
    ) -> Result<&Minter, CannotSign> {
        if self.is_halted() {
            return Err(CannotSign::Restored);
        }
        if !self.is_fresh_at(now) {
            return Err(CannotSign::Stale);
        }
        self.chosen(wanted, configured).map(|(_, minter)| minter.as_ref()).ok_or(CannotSign::NoKey)
    }

    /// Returns the algorithm of the key that `signer` selects, or `None` if no key can sign. The
    /// age of the snapshot does not matter.
    pub fn signs_with(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<Algorithm> {
        self.chosen(wanted, configured).map(|(algorithm, _)| *algorithm)
    }

    fn chosen(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<&(Algorithm, Arc<Minter>)> {
        let of = |wanted: Algorithm| self.minters.values().find(|(algorithm, _)| *algorithm == wanted);
        wanted.and_then(of).or_else(|| of(configured)).or_else(|| self.minters.get(self.stand_in.as_ref()?))
    }

    /// Like `signer` for the configured algorithm, if the current time of the database is not
    /// available. Only the clock of the process limits the age of the snapshot.
    pub fn signer_of_look(&self, configured: Algorithm) -> Result<&Minter, CannotSign> {
        self.signer(None, configured, self.as_of)
    }

    fn is_fresh_at(&self, now: Timestamp) -> bool {
        self.is_fresh() && now.since(self.as_of).duration() <= self.fresh_for
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
    pub fn verify_any(&self, token: &str, issuer: &str) -> Option<(Typ, Claims)> {
        self.verifiers.iter().find_map(|verifier| verifier.verify_any(token, issuer))
    }
}

impl KeyRing {
    /// Loads the first snapshot.
    pub async fn open(
        store: &Store,
        master: &MasterKeys,
        fresh_for: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let halted = Arc::default();
        let view = look(store, master, fresh_for, &Minters::new(), Arc::clone(&halted), clock.now()).await?;
        Ok(Self {
            clock,
            halted,
            view: ArcSwap::from_pointee(view),
            looking: Mutex::new(()),
            accepted: AtomicBool::new(false),
            failed_at: std::sync::Mutex::default(),
        })
    }

    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Returns whether verifiers may cache the contents of the snapshot. The machine's clock limits
    /// its age as well, because it advances while the machine is suspended.
    pub fn may_be_kept(&self, view: &View) -> bool {
        view.is_fresh() && self.clock.now().since(view.machine_at).duration() <= view.fresh_for
    }

    /// Like `View::is_halted`, without loading a snapshot.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Returns a snapshot for signing at `now`, the time of the database. Refreshes an outdated
    /// snapshot first, so that a process that was suspended need not refuse requests. If the
    /// refresh fails, the result is the outdated snapshot, which refuses to sign.
    pub async fn view_at(&self, now: Timestamp, store: &Store, master: &MasterKeys) -> Arc<View> {
        let view = self.view();
        if view.is_fresh_at(now) || view.is_halted() || self.failed_lately() {
            return view;
        }
        self.catch_up(store, master, |view| view.is_fresh_at(now)).await;
        self.view()
    }

    /// Returns a snapshot for publication. Tries for a limited time to refresh an outdated
    /// snapshot, because verifiers cache what a process publishes after it was suspended. If the
    /// database is unavailable, the outdated snapshot is better than none.
    pub async fn view_to_serve(&self, store: &Store, master: &MasterKeys) -> Arc<View> {
        let view = self.view();
        if self.may_be_kept(&view) || self.failed_lately() {
            return view;
        }
        self.catch_up(store, master, |view| self.may_be_kept(view)).await;
        self.view()
    }

    /// Refreshes the snapshot within a time limit, while concurrent requests wait for the result.
    /// After a failure there is no further attempt for the same duration. Otherwise each request
    /// would wait for the failures of the others.
    async fn catch_up(&self, store: &Store, master: &MasterKeys, is_enough: impl Fn(&View) -> bool) {
        let look = async {
            let _turn = self.looking.lock().await;
            if !is_enough(&self.view()) && !self.failed_lately() {
                self.refresh(store, master).await?;
            }
            Ok::<_, Error>(())
        };
        let why = match timeout(LOOK_FOR, look).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(why, "the view of the signing keys is too old, and they could not be looked at");
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.elapsed());
    }

    /// Returns whether a refresh has failed so recently that another attempt would only delay the
    /// request.
    fn failed_lately(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| self.clock.elapsed().saturating_sub(at) < LOOK_FOR)
    }

    /// Loads a new snapshot. If this fails, the previous snapshot remains and ages.
    pub async fn refresh(&self, store: &Store, master: &MasterKeys) -> Result<(), Error> {
        let before = self.view();
        let prepared = before.minters.iter().chain(&before.waiting);
        let prepared = prepared.map(|(kid, (algorithm, minter))| (kid.clone(), (*algorithm, Arc::clone(minter))));
        let (halted, machine_at) = (Arc::clone(&self.halted), self.clock.now());
        let view = look(store, master, before.fresh_for, &prepared.collect(), halted, machine_at).await?;
        // The acceptance applies to one loaded snapshot, whatever its generation. Another rollback
        // needs another acceptance.
        let accepted = self.accepted.swap(false, Ordering::Relaxed);
        if view.generation < before.generation && !accepted {
            // Published keys must remain published (invariant K3) until an operator has decided.
            // The previous snapshot ages and stops signing.
            return Err(Error::Unavailable(
                "the database knows less of the signing keys than it did: it looks like an old backup".to_owned(),
            ));
        }
        let view = Arc::new(view);
        // A concurrent refresh may have loaded a newer snapshot.
        self.view.rcu(|now| Arc::clone(if now.seen_at > view.seen_at { now } else { &view }));
        Ok(())
    }

    /// Halts or resumes signing. After signing has resumed, the next refresh accepts a lower
    /// generation.
    pub fn halt(&self, halted: bool) {
        let was_halted = self.halted.swap(halted, Ordering::Relaxed);
        if was_halted && !halted {
            self.accepted.store(true, Ordering::Relaxed);
        }
    }
}

async fn look(
    store: &Store,
    master: &MasterKeys,
    fresh_for: Duration,
    prepared: &Minters,
    halted: Arc<AtomicBool>,
    machine_at: Timestamp,
) -> Result<View, Error> {
    // The age of a snapshot counts from the start of the query.
    let seen_at = Instant::now();
    let (as_of, stored, asked) = store
        .read(|connection| {
            let now = store::now(connection)?;
            let keys = store::signing_keys::list(connection, false)?;
            Ok::<_, StoreError>((now, keys, store::audiences::algorithms(connection)?))
        })
        .await?;
    let mut view = View {
        published: Vec::new(),
        asked,
        minters: Minters::new(),
        waiting: Minters::new(),
        stand_in: None,
        verifiers: Vec::new(),
        jwks: publish::jwks(&[])?,
        jwks_of: BTreeMap::new(),
        unusable: Vec::new(),
        halted,
        seen_at,
        generation: stored.iter().map(|key| key.info.version).sum(),
        as_of,
        machine_at,
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
        view.verifiers.extend(Verifier::new(&jwk));
        if matches!(key.info.state, SigningKeyState::Active | SigningKeyState::Next) {
            // A next key that cannot sign is reported before it becomes active.
            let is_next = key.info.state == SigningKeyState::Next;
            let minters = if is_next { &mut view.waiting } else { &mut view.minters };
            // A prepared key is reused if its public half is unchanged. The private half of a next
            // key is decrypted at each refresh, because its row may have been altered since.
            let known = prepared.get(&key.info.kid).filter(|(_, known)| *known.jwk() == jwk);
            let minter = match known.filter(|_| !is_next || open(master, &key).is_ok()) {
                Some((_, minter)) => Some(Arc::clone(minter)),
                None => prepare(master, &key, &jwk).await,
            };
            if let Some(minter) = minter {
                minters.insert(key.info.kid.clone(), (key.info.algorithm, minter));
            } else {
                view.unusable.push(key.info.kid.clone());
            }
        }
        view.published.push((key.info, jwk));
    }
    let jwks: Vec<_> = view.published.iter().map(|(_, jwk)| jwk).collect();
    view.jwks = publish::jwks(&jwks)?;
    for algorithm in Algorithm::ALL {
        let of_algorithm: Vec<_> = jwks.iter().copied().filter(|jwk| jwk.alg == algorithm).collect();
        view.jwks_of.insert(algorithm, publish::jwks(&of_algorithm)?);
    }
    view.stand_in = stand_in(&view, &first_of);
    Ok(view)
}

/// Selects the fallback key among the active keys that can sign. Prefers algorithms that no
/// audience requires, and among these the one that was published first: it is most likely the
/// previously configured one.
fn stand_in(view: &View, first_of: &BTreeMap<Algorithm, Timestamp>) -> Option<SigningKeyId> {
    let signing = view.published.iter().map(|(info, _)| info).filter(|info| view.minters.contains_key(&info.kid));
    let first = signing.min_by_key(|info| (view.asked.contains(&info.algorithm), first_of.get(&info.algorithm)));
    first.map(|info| info.kid.clone())
}

/// Prepares a key for signing. A key that cannot be decrypted, or whose halves do not match, is
/// logged and left out. The other keys remain in use.
async fn prepare(master: &MasterKeys, key: &StoredSigningKey, jwk: &PublicJwk) -> Option<Arc<Minter>> {
    let usable = async {
        let der = open(master, key)?;
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

/// Returns whether a key can sign: its private half can be decrypted and matches its published
/// half.
pub(super) fn can_sign(master: &MasterKeys, key: &StoredSigningKey) -> bool {
    let signer =
        open(master, key).and_then(|der| Ok(Signer::from_pkcs8(key.info.algorithm, &PrivateKeyDer::new(&der))?));
    let jwk = serde_json::from_str::<PublicJwk>(&key.public_jwk);
    signer.is_ok_and(|signer| jwk.is_ok_and(|jwk| *signer.jwk() == jwk))
}

fn open(master: &MasterKeys, key: &StoredSigningKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (bytes, master_version) = key.sealed.clone().ok_or_else(|| Error::Internal("no private half".to_owned()))?;
    let sealed = Sealed { master_version, bytes };
    Ok(master.open(Purpose::SigningKey, key.info.kid.as_str(), &sealed)?)
}
