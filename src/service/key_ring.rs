//! The signing keys in memory: what is published and what signs, as of the last look at the database.

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

/// The keys, replaced whole at each look.
pub struct KeyRing {
    view: ArcSwap<View>,
    /// Of the machine.
    clock: Arc<dyn Clock>,
    /// Shared with all views.
    halted: Arc<AtomicBool>,
    /// Held by whoever looks because the view was found too old: the others wait for that look.
    looking: Mutex<()>,
    /// An older state of the database was accepted: the next look takes it as it is.
    accepted: AtomicBool,
    /// When a look failed that somebody waited for, by the clock that nobody can set.
    failed_at: std::sync::Mutex<Option<Duration>>,
}

/// How long whoever asks waits for a look at the database.
const LOOK_FOR: Duration = Duration::from_secs(1);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

type Minters = BTreeMap<SigningKeyId, (Algorithm, Arc<Minter>)>;

/// The keys as of one look.
pub struct View {
    pub published: Vec<(SigningKeyInfo, PublicJwk)>,
    /// The algorithms that audiences ask for.
    pub asked: BTreeSet<Algorithm>,
    minters: Minters,
    /// Those that are next, and were tried out: they sign nothing yet.
    waiting: Minters,
    /// What signs where there is no active key of the algorithm that is wanted.
    stand_in: Option<SigningKeyId>,
    verifiers: Vec<Verifier>,
    pub jwks: Document,
    /// The same with the keys of one algorithm alone, for each there is.
    pub jwks_of: BTreeMap<Algorithm, Document>,
    /// The keys that should sign, now or next, and cannot; and those whose public half cannot be read.
    pub unusable: Vec<SigningKeyId>,
    /// Shared by all views: set while an operator is asked whether anything may be signed.
    halted: Arc<AtomicBool>,
    seen_at: Instant,
    /// How often the keys were moved before that look: it only ever grows, and a restored backup knows less.
    generation: i64,
    /// The database's clock at that look.
    as_of: Timestamp,
    /// The machine's.
    machine_at: Timestamp,
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
    #[error("the database looks like an old backup: see `keyswap restore status`")]
    Restored,
}

impl CannotSign {
    /// What metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NoKey => "no_key",
            Self::Restored => "restored",
        }
    }
}

impl View {
    /// The key that signs: the active one of the algorithm that is wanted, or else of the one in the configuration,
    /// or, until the first rotation to that, the one that has signed so far.
    ///
    /// # Errors
    /// The view is too old by the clock of this process, or by the database's at `now`, which has seen a process that was stopped and woken;
    /// or no key can sign.
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

    /// The algorithm that `signer` signs by; absent when no key can sign.
    pub fn signs_with(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<Algorithm> {
        self.chosen(wanted, configured).map(|(algorithm, _)| *algorithm)
    }

    fn chosen(&self, wanted: Option<Algorithm>, configured: Algorithm) -> Option<&(Algorithm, Arc<Minter>)> {
        let of = |wanted: Algorithm| self.minters.values().find(|(algorithm, _)| *algorithm == wanted);
        wanted.and_then(of).or_else(|| of(configured)).or_else(|| self.minters.get(self.stand_in.as_ref()?))
    }

    /// As `signer`, for whoever asks at no moment of the database's.
    ///
    /// # Errors
    /// As `signer`.
    pub fn signer_of_look(&self, configured: Algorithm) -> Result<&Minter, CannotSign> {
        self.signer(None, configured, self.as_of)
    }

    fn is_fresh_at(&self, now: Timestamp) -> bool {
        self.is_fresh() && now.since(self.as_of).duration() <= self.fresh_for
    }

    /// Whether it is young enough to sign by.
    pub fn is_fresh(&self) -> bool {
        self.age() <= self.fresh_for
    }

    /// Whether nothing is signed, and no key may move, until an operator has looked.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub fn age(&self) -> Duration {
        self.seen_at.elapsed()
    }

    /// The claims of a token of ours.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Option<Claims> {
        self.verifiers.iter().find_map(|verifier| verifier.verify(token, issuer, audience))
    }

    /// The claims of a token of ours for whichever audience, and its `typ`.
    pub fn verify_any(&self, token: &str, issuer: &str) -> Option<(Typ, Claims)> {
        self.verifiers.iter().find_map(|verifier| verifier.verify_any(token, issuer))
    }
}

impl KeyRing {
    /// Looks for the first time.
    ///
    /// # Errors
    /// The database does not answer.
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

    /// Whether a view is young enough for others to keep what it says: by the machine's clock as well, which goes on while the machine is
    /// suspended.
    pub fn may_be_kept(&self, view: &View) -> bool {
        view.is_fresh() && self.clock.now().since(view.machine_at).duration() <= view.fresh_for
    }

    /// As of a view; here, where none is needed.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// A view to sign by at `now`, by the database's clock. One that is too old is looked at again first: a process that was stopped and woken
    /// need not refuse what it could answer. Where the look fails, the view stays too old.
    pub async fn view_at(&self, now: Timestamp, store: &Store, master: &MasterKeys) -> Arc<View> {
        let view = self.view();
        if view.is_fresh_at(now) || view.is_halted() || self.failed_lately() {
            return view;
        }
        self.catch_up(store, master, |view| view.is_fresh_at(now)).await;
        self.view()
    }

    /// A view to serve. One that is too old is looked at again first, for a moment: a process that stood still must not hand out what was
    /// true before, since verifiers keep it. Where the database is away, what there is is still better than nothing.
    pub async fn view_to_serve(&self, store: &Store, master: &MasterKeys) -> Arc<View> {
        let view = self.view();
        if self.may_be_kept(&view) || self.failed_lately() {
            return view;
        }
        self.catch_up(store, master, |view| self.may_be_kept(view)).await;
        self.view()
    }

    /// Looks again, for a moment, and one at a time: whoever waited finds what the first one found. Where that failed, nobody tries for as long:
    /// those who come meanwhile would wait for each other's failures.
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

    /// Whether a look has failed so lately that another would only hold up whoever asks.
    fn failed_lately(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| self.clock.elapsed().saturating_sub(at) < LOOK_FOR)
    }

    /// Looks again.
    ///
    /// # Errors
    /// The database does not answer; the view stays as it was, and ages.
    pub async fn refresh(&self, store: &Store, master: &MasterKeys) -> Result<(), Error> {
        let before = self.view();
        let prepared = before.minters.iter().chain(&before.waiting);
        let prepared = prepared.map(|(kid, (algorithm, minter))| (kid.clone(), (*algorithm, Arc::clone(minter))));
        let (halted, machine_at) = (Arc::clone(&self.halted), self.clock.now());
        let view = look(store, master, before.fresh_for, &prepared.collect(), halted, machine_at).await?;
        // Good for one look, whatever it finds: the next older state is another one.
        let accepted = self.accepted.swap(false, Ordering::Relaxed);
        if view.generation < before.generation && !accepted {
            // What was published must stay so (I4) until somebody has looked at it; this view ages, and signs no more.
            return Err(Error::Unavailable(
                "the database knows less of the signing keys than it did: it looks like an old backup".to_owned(),
            ));
        }
        let view = Arc::new(view);
        // Whoever looked at the same time may have seen more.
        self.view.rcu(|now| Arc::clone(if now.seen_at > view.seen_at { now } else { &view }));
        Ok(())
    }

    /// Signs nothing, or goes on.
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
    // The view is as old as the question, not as the answer.
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
        // In the order in which they were published.
        first_of.entry(key.info.algorithm).or_insert(key.info.published_at);
        if !key.info.state.is_published() {
            continue;
        }
        // One row that cannot be read must not take the others along.
        let Ok(jwk) = serde_json::from_str::<PublicJwk>(&key.public_jwk) else {
            tracing::error!(kid = %key.info.kid, "a signing key cannot be read");
            view.unusable.push(key.info.kid);
            continue;
        };
        view.verifiers.extend(Verifier::new(&jwk));
        if matches!(key.info.state, SigningKeyState::Active | SigningKeyState::Next) {
            // A next one that cannot sign is told before it is its turn.
            let is_next = key.info.state == SigningKeyState::Next;
            let minters = if is_next { &mut view.waiting } else { &mut view.minters };
            // Of one that was tried out before, the row can have been altered since.
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

/// Of the keys that sign, one that is not there for an audience's sake, and of the algorithm that was here first: most likely
/// the one that was configured before.
fn stand_in(view: &View, first_of: &BTreeMap<Algorithm, Timestamp>) -> Option<SigningKeyId> {
    let signing = view.published.iter().map(|(info, _)| info).filter(|info| view.minters.contains_key(&info.kid));
    let first = signing.min_by_key(|info| (view.asked.contains(&info.algorithm), first_of.get(&info.algorithm)));
    first.map(|info| info.kid.clone())
}

/// A key that does not open, or whose halves do not match, is told of and left out; the others keep working.
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

/// Whether a key can sign: its private half opens, and belongs to what is published of it.
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
