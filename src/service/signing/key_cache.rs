//! In-memory snapshot of the signing keys: the published keys and the signing keys as of the last
//! refresh from the database.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    crypto::master_keys::MasterKeys,
    domain::common::time::Timestamp,
    service::{
        Error,
        signing::key_snapshot::{KeySnapshot, PreparedSigners, look},
    },
    store::{Clock, Store},
};

/// The signing keys. Each refresh replaces the snapshot as a whole.
pub struct KeyCache {
    store: Store,
    master: MasterKeys,
    view: ArcSwap<KeySnapshot>,
    /// The machine's clock.
    clock: Arc<dyn Clock>,
    /// Shared with all snapshots.
    halted: Arc<AtomicBool>,
    /// Held during a refresh of an outdated snapshot. Other requests wait for its result.
    looking: Mutex<()>,
    /// Set when an operator has accepted a rolled back database. The next refresh accepts a lower
    /// generation.
    rollback_accepted: AtomicBool,
    /// Time of the last failed refresh that a request has waited for, by a monotonic clock.
    failed_at: std::sync::Mutex<Option<Duration>>,
}

/// Maximum time that a request waits for a refresh. No request waits again for this time after a
/// failure.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyCache")
    }
}

impl KeyCache {
    /// Loads the first snapshot.
    pub async fn open(
        store: Store,
        master: MasterKeys,
        fresh_for: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let halted = Arc::default();
        let view = look(&store, &master, fresh_for, &PreparedSigners::new(), Arc::clone(&halted), clock.now()).await?;
        Ok(Self {
            store,
            master,
            clock,
            halted,
            view: ArcSwap::from_pointee(view),
            looking: Mutex::new(()),
            rollback_accepted: AtomicBool::new(false),
            failed_at: std::sync::Mutex::default(),
        })
    }

    pub fn view(&self) -> Arc<KeySnapshot> {
        self.view.load_full()
    }

    /// Returns whether verifiers may cache the contents of the snapshot. The machine's clock limits
    /// its age as well, because it advances while the machine is suspended.
    pub fn is_cacheable(&self, view: &KeySnapshot) -> bool {
        view.is_fresh() && self.clock.now().elapsed_since(view.machine_time).duration() <= view.fresh_for
    }

    /// Like `KeySnapshot::is_halted`, without loading a snapshot.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Returns a snapshot for signing at `now`, the time of the database. Refreshes an outdated
    /// snapshot first, so that a process that was suspended need not refuse requests. If the
    /// refresh fails, the result is the outdated snapshot, which refuses to sign.
    pub async fn snapshot_at(&self, now: Timestamp) -> Arc<KeySnapshot> {
        let view = self.view();
        if view.is_fresh_at(now) || view.is_halted() || self.failed_lately() {
            return view;
        }
        self.refresh_if_stale(|view| view.is_fresh_at(now)).await;
        self.view()
    }

    /// Returns a snapshot for publication. Tries for a limited time to refresh an outdated
    /// snapshot, because verifiers cache what a process publishes after it was suspended. If the
    /// database is unavailable, the outdated snapshot is better than none.
    pub async fn snapshot_to_publish(&self) -> Arc<KeySnapshot> {
        let view = self.view();
        if self.is_cacheable(&view) || self.failed_lately() {
            return view;
        }
        self.refresh_if_stale(|view| self.is_cacheable(view)).await;
        self.view()
    }

    /// Refreshes the snapshot within a time limit, while concurrent requests wait for the result.
    /// After a failure there is no further attempt for the same duration. Otherwise each request
    /// would wait for the failures of the others.
    async fn refresh_if_stale(&self, is_enough: impl Fn(&KeySnapshot) -> bool) {
        let look = async {
            let _turn = self.looking.lock().await;
            if !is_enough(&self.view()) && !self.failed_lately() {
                self.refresh().await?;
            }
            Ok::<_, Error>(())
        };
        let why = match timeout(REFRESH_TIMEOUT, look).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(why, "the view of the signing keys is too old, and they could not be looked at");
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.monotonic_elapsed());
    }

    /// Returns whether a refresh has failed so recently that another attempt would only delay the
    /// request.
    fn failed_lately(&self) -> bool {
        let failed = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| self.clock.monotonic_elapsed().saturating_sub(at) < REFRESH_TIMEOUT)
    }

    /// Loads a new snapshot. If this fails, the previous snapshot remains and ages.
    pub async fn refresh(&self) -> Result<(), Error> {
        let before = self.view();
        let prepared = before.signers.iter().chain(&before.waiting);
        let prepared = prepared.map(|(kid, (algorithm, minter))| (kid.clone(), (*algorithm, Arc::clone(minter))));
        let (halted, machine_at) = (Arc::clone(&self.halted), self.clock.now());
        let view = look(&self.store, &self.master, before.fresh_for, &prepared.collect(), halted, machine_at).await?;
        // The acceptance applies to one loaded snapshot, whatever its generation. Another rollback
        // needs another acceptance.
        let rollback_accepted = self.rollback_accepted.swap(false, Ordering::Relaxed);
        if view.generation < before.generation && !rollback_accepted {
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
    pub fn set_halted(&self, halted: bool) {
        let was_halted = self.halted.swap(halted, Ordering::Relaxed);
        if was_halted && !halted {
            self.rollback_accepted.store(true, Ordering::Relaxed);
        }
    }
}
