//! Status lists: the public status of tokens. The lists are built and signed by one replica at a
//! time, and every replica serves them from memory.

mod build;
pub mod packing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    domain::{
        event::{Actor, Origin},
        grant::{self, Grant},
        id::StatusListId,
        status_list::Place,
        time::{Span, Timestamp},
        token_shape::StatusOf,
    },
    store::{self, Outcome, StoreError, facts::Wanted, status_lists::NewToken, status_tokens::Found},
};

use super::{App, Error, proof::Denied, publish::Document};

pub use build::rebuild;

/// Maximum number of credentials, created by versions without status lists, that get an index in
/// one transaction.
const PLACED_AT_ONCE: i64 = 200;

/// The lists in memory, as of the last refresh.
pub struct StatusLists {
    view: ArcSwap<View>,
    /// One build at a time: a waiting caller finds the result of the previous build.
    building: Mutex<()>,
    /// Whether this replica has completed a full build. Its settings may differ from those of the
    /// replica that built last.
    has_built: AtomicBool,
    /// When the last successful build of this replica began; initially, when the replica started.
    built_at: std::sync::Mutex<Instant>,
    /// Held while a request refreshes lists that are too old to serve; other requests wait for it.
    looking: Mutex<()>,
    /// When such a refresh last failed.
    failed_at: std::sync::Mutex<Option<Instant>>,
}

/// How long a request waits for a refresh, and how long no refresh is attempted after a failure.
const LOOK_FOR: Duration = Duration::from_secs(1);

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusLists")
    }
}

#[derive(Default)]
struct View {
    lists: BTreeMap<StatusListId, Arc<Served>>,
    /// The time of the refresh, by the process clock and by the database clock.
    seen_at: Option<(Instant, Timestamp)>,
}

/// A signed list, ready to be sent.
#[derive(Debug)]
pub struct Served {
    version: i64,
    expires_at: Timestamp,
    pub plain: Document,
    pub gzip: Document,
}

impl Default for StatusLists {
    fn default() -> Self {
        Self {
            view: ArcSwap::default(),
            building: Mutex::new(()),
            has_built: AtomicBool::new(false),
            built_at: std::sync::Mutex::new(Instant::now()),
            looking: Mutex::new(()),
            failed_at: std::sync::Mutex::default(),
        }
    }
}

impl StatusLists {
    /// Whether the last refresh is at most `span` old.
    pub fn is_fresh(&self, span: Span) -> bool {
        self.view.load().seen_at.is_some_and(|(at, _)| at.elapsed() <= span.duration())
    }

    fn built(&self, began: Instant) {
        *self.built_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// Time since the last successful build of this replica began, including builds that found
    /// nothing to do.
    pub fn build_age(&self) -> Duration {
        self.built_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Seconds until the first list expires, by the database clock; negative if one has expired.
    pub fn soonest_end(&self) -> Option<f64> {
        let view = self.view.load();
        let ends_at = view.lists.values().map(|list| list.expires_at).min()?;
        let (seen_at, as_of) = view.seen_at?;
        let left = Duration::from_millis(ends_at.millis().abs_diff(as_of.millis())).as_secs_f64();
        Some(if ends_at < as_of { -left } else { left } - seen_at.elapsed().as_secs_f64())
    }

    /// Whether a refresh for a request failed so recently that another attempt would only delay the
    /// request.
    fn failed_lately(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < LOOK_FOR)
    }

    /// The number of lists and their total size in bytes, compressed.
    pub fn size(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.lists.len(), view.lists.values().map(|list| list.gzip.body.len()).sum())
    }
}

/// How long a verifier may use a list, in seconds. At most half of the lifetime of a list, which is
/// signed again at that age.
pub fn ttl(app: &App) -> u64 {
    app.settings.status_ttl.as_secs().min(app.settings.limits.max_ttl.as_secs() / 2).max(1)
}

/// Returns a list, identical on every replica. A list that was just created is signed now, so that
/// no token refers to a missing list.
pub async fn get(app: &App, id: &StatusListId) -> Result<Arc<Served>, Error> {
    be_fresh(app).await?;
    let found = || app.status_lists.view.load().lists.get(id).cloned();
    if let Some(list) = found() {
        return Ok(list);
    }
    let wanted = id.clone();
    if !app.store.read(move |connection| store::status_lists::exists(connection, &wanted)).await? {
        return Err(Error::NotFound("status list"));
    }
    refresh(app).await?;
    if let Some(list) = found() {
        return Ok(list);
    }
    rebuild(app).await?;
    refresh(app).await?;
    found().ok_or_else(|| Error::Unavailable("the status list is being made".to_owned()))
}

/// Refreshes the lists if they are too old, and waits at most `LOOK_FOR`. A verifier uses a list
/// for its whole `ttl`, regardless of cache headers, so lists that may be outdated are not served.
/// Without a response, verifiers correctly use the list they have until its `ttl` ends.
async fn be_fresh(app: &App) -> Result<(), Error> {
    let lists = &app.status_lists;
    let is_fresh = || lists.is_fresh(app.settings.timing.replica_staleness);
    if is_fresh() {
        return Ok(());
    }
    if !lists.failed_lately() {
        let look = async {
            let _turn = lists.looking.lock().await;
            if !is_fresh() && !lists.failed_lately() {
                refresh(app).await?;
            }
            Ok::<_, Error>(())
        };
        if !matches!(timeout(LOOK_FOR, look).await, Ok(Ok(()))) {
            *lists.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
    if is_fresh() { Ok(()) } else { Err(Error::Unavailable("the status lists here may be out of date".to_owned())) }
}

/// Loads the lists that were signed since the last refresh. After a failure the lists in memory
/// stay unchanged.
pub async fn refresh(app: &App) -> Result<(), Error> {
    let seen_at = Instant::now();
    let before = app.status_lists.view.load_full();
    let known: BTreeMap<_, _> = before.lists.iter().map(|(id, list)| (id.clone(), list.version)).collect();
    let (as_of, all, new) = app
        .store
        .read(move |connection| {
            let as_of = store::now(connection)?;
            let all = store::status_tokens::versions(connection)?;
            let mut new = Vec::new();
            for (id, _) in all.iter().filter(|(id, version)| known.get(id) != Some(version)) {
                if let Some(found) = store::status_tokens::find(connection, id)? {
                    new.push((id.clone(), served(found)?));
                }
            }
            Ok::<_, Error>((as_of, all, new))
        })
        .await?;
    let mut new: BTreeMap<_, _> = new.into_iter().collect();
    let mut lists = BTreeMap::new();
    for (id, _) in all {
        let list = new.remove(&id).map(Arc::new).or_else(|| before.lists.get(&id).cloned());
        if let Some(list) = list {
            lists.insert(id, list);
        }
    }
    // A concurrent refresh may have read a newer state.
    app.status_lists.view.rcu(|now| {
        if now.seen_at.is_some_and(|(at, _)| at > seen_at) {
            return Arc::clone(now);
        }
        Arc::new(View { lists: lists.clone(), seen_at: Some((seen_at, as_of)) })
    });
    Ok(())
}

fn served(found: Found) -> Result<Served, Error> {
    let Found { jwt, version, expires_at } = found;
    let gzip = packing::gzip(jwt.as_bytes()).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Served { version, expires_at, plain: Document::of_bytes(jwt.into_bytes()), gzip: Document::of_bytes(gzip) })
}

/// Assigns indexes to a batch of credentials created by versions without status lists. Returns
/// whether more may remain.
pub async fn place_old(app: &App) -> Result<bool, StoreError> {
    app.store
        .change(Origin::of(Actor::System), |tx| {
            Ok(Outcome::bookkeeping(store::status_lists::give_places_to_old(tx, PLACED_AT_ONCE)? > 0))
        })
        .await
}

/// Returns the status list index of the token to be signed: an index of its own if an audience
/// requires it, otherwise that of the credential.
///
/// The key may be revoked after its lookup and before the index is committed, and a build may read
/// the revocation and not yet the index. The list would then report the token as valid until a
/// later change causes a build. The key is therefore read again after the index is committed. If it
/// is no longer in force, no token is issued. If it is, a revocation can only follow, and every
/// build that reads the revocation reads the index as well. This costs one read beside a commit,
/// holds no lock and invalidates no build.
pub async fn place_of_token(app: &App, grant: &Grant, jti: &str) -> Result<Option<Place>, Denied> {
    if grant.status_of == StatusOf::Credential {
        return Ok(grant.status.clone());
    }
    let token =
        NewToken { jti: jti.to_owned(), credential: grant.credential, key: grant.key.clone(), exp: grant.expires_at };
    let wanted = Wanted::Credential(grant.credential);
    let place = app
        .store
        .change(Origin::of(Actor::System), move |tx| {
            Ok::<_, StoreError>(Outcome::bookkeeping(store::status_lists::give_token_place(tx, &token)?))
        })
        .await?;
    let found = app.store.read(move |connection| store::facts::load(connection, &wanted, &BTreeSet::new())).await?;
    let facts = found.ok_or(Denied::Key)?.facts;
    grant::alive(&facts.key, facts.now, &app.settings.limits).map_err(|_| Denied::Key)?;
    Ok(Some(place))
}
