//! Status lists: what everyone may read of a token's fate. Built and signed by whichever replica comes first, served by each from memory.

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

/// How many credentials of a version before there were lists are given a place in one change.
const PLACED_AT_ONCE: i64 = 200;

/// The lists in memory, as of the last look.
pub struct StatusLists {
    view: ArcSwap<View>,
    /// One build at a time: who waits finds what the one before made.
    building: Mutex<()>,
    /// Whether this replica has looked at everything once: its settings may not be those of the last one.
    has_built: AtomicBool,
    /// When the last build began that went well, here; at first, when this replica came up.
    built_at: std::sync::Mutex<Instant>,
    /// Held by whoever looks because what is here is too old to be served: the others wait for that look.
    looking: Mutex<()>,
    /// When such a look failed.
    failed_at: std::sync::Mutex<Option<Instant>>,
}

/// How long whoever asks for a list waits for a look at the database.
const LOOK_FOR: Duration = Duration::from_secs(1);

impl fmt::Debug for StatusLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusLists")
    }
}

#[derive(Default)]
struct View {
    lists: BTreeMap<StatusListId, Arc<Served>>,
    /// When it was looked at, by our clock and by the database's.
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
    /// Whether they were looked at within `span`.
    pub fn is_fresh(&self, span: Span) -> bool {
        self.view.load().seen_at.is_some_and(|(at, _)| at.elapsed() <= span.duration())
    }

    fn built(&self, began: Instant) {
        *self.built_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// For how long no build has gone well here, those included that found nothing to do.
    pub fn build_age(&self) -> Duration {
        self.built_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// How many seconds are left until the first of the lists ends, by the database's clock; less than none where one has ended.
    pub fn soonest_end(&self) -> Option<f64> {
        let view = self.view.load();
        let ends_at = view.lists.values().map(|list| list.expires_at).min()?;
        let (seen_at, as_of) = view.seen_at?;
        let left = Duration::from_millis(ends_at.millis().abs_diff(as_of.millis())).as_secs_f64();
        Some(if ends_at < as_of { -left } else { left } - seen_at.elapsed().as_secs_f64())
    }

    /// Whether a look that was made to serve has failed so lately that another would only hold up whoever asks.
    fn failed_lately(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < LOOK_FOR)
    }

    /// How many there are, and how long they are together, compressed.
    pub fn size(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.lists.len(), view.lists.values().map(|list| list.gzip.body.len()).sum())
    }
}

/// For how long a verifier may use a list it has, in seconds. Never more than half of what a list lives: it is signed again before.
pub fn ttl(app: &App) -> u64 {
    app.settings.status_ttl.as_secs().min(app.settings.limits.max_ttl.as_secs() / 2).max(1)
}

/// A list, as every replica serves it. One that was opened a moment ago is signed now: no token points at nothing.
///
/// # Errors
/// There is no such list, it cannot be signed now, or what is here may be out of date.
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

/// Looks again where what is here is too old, for a moment. Whoever gets a list uses it for its whole `ttl`, whatever the header says: what
/// may be out of date is not given out. Without an answer, verifiers use what they have to the end of its `ttl`, as they should.
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

/// Takes over what was signed since the last look.
///
/// # Errors
/// The database does not answer; what is there stays.
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
    // Whoever looked at the same time may have seen more.
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

/// Gives places to some of the credentials that were here before there were lists, and says whether there may be more.
///
/// # Errors
/// The database does not answer.
pub async fn place_old(app: &App) -> Result<bool, StoreError> {
    app.store
        .change(Origin::of(Actor::System), |tx| {
            Ok(Outcome::bookkeeping(store::status_lists::give_places_to_old(tx, PLACED_AT_ONCE)? > 0))
        })
        .await
}

/// Where the status of the token that is about to be minted stands: a place of its own, where its audience wants that.
///
/// Between the look-up of the key and the commit of the place, the key may be revoked, and a build may read that and not yet the place:
/// the list would say "valid" until something else happens. So the key is looked at once more when the place is committed. One that is
/// not in force then gets no token. One that is can only end after this, and every build that reads of it reads the place as well. That
/// costs a read where a commit is paid for anyway, holds no lock, and makes no build necessary.
///
/// # Errors
/// The key is not in force any more; the database does not answer.
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
