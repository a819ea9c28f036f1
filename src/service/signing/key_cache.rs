//! In-memory snapshot of the signing keys: the published keys and the signing keys as of the last
//! refresh from the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::{
    crypto::master_keys::MasterKeys,
    domain::common::time::Timestamp,
    service::{
        Error, Unavailable,
        common::refresh_gate::RefreshGate,
        signing::key_snapshot::{KeySnapshot, SnapshotLoader},
    },
    store::{Clock, Store},
};

/// The signing keys. Each refresh replaces the snapshot as a whole.
#[derive(Debug)]
pub struct KeyCache {
    loader: SnapshotLoader,
    view: ArcSwap<KeySnapshot>,
    gate: RefreshGate,
    /// Set when an operator has accepted a rolled back database. The next refresh accepts a lower
    /// generation.
    rollback_accepted: AtomicBool,
}

impl KeyCache {
    /// Loads the first snapshot.
    pub async fn open(
        store: Store,
        master_keys: MasterKeys,
        max_age: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let gate = RefreshGate::new("refresh the stale signing keys", Arc::clone(&clock));
        let loader = SnapshotLoader { store, master_keys, max_age, clock, halted: Arc::default() };
        let view = ArcSwap::from_pointee(loader.load(None).await?);
        Ok(Self { loader, view, gate, rollback_accepted: AtomicBool::new(false) })
    }

    pub fn view(&self) -> Arc<KeySnapshot> {
        self.view.load_full()
    }

    /// Returns whether verifiers may cache the contents of the snapshot. The machine's clock limits
    /// its age as well, because it advances while the machine is suspended.
    pub fn is_cacheable(&self, view: &KeySnapshot) -> bool {
        let machine_age = self.loader.clock.now().elapsed_since(view.machine_time).duration();
        view.is_fresh() && machine_age <= self.loader.max_age
    }

    /// Returns whether an operator must decide before anything is signed and before any key changes
    /// state.
    pub fn is_halted(&self) -> bool {
        self.loader.halted.load(Ordering::Relaxed)
    }

    /// Returns a snapshot for signing at `now`, the time of the database. Refreshes an outdated
    /// snapshot first, so that a process that was suspended need not refuse requests. If the
    /// refresh fails, the result is the outdated snapshot, which refuses to sign.
    pub async fn snapshot_at(&self, now: Timestamp) -> Arc<KeySnapshot> {
        let is_good_enough = || self.is_halted() || self.view.load().is_fresh_at(now);
        if !is_good_enough() {
            self.gate.refresh_if_stale(is_good_enough, || self.refresh()).await;
        }
        self.view()
    }

    /// Returns a snapshot whose refresh began after this call. Concurrent callers share a refresh.
    pub(crate) async fn reload(&self) -> Result<Arc<KeySnapshot>, Unavailable> {
        let called_at = Instant::now();
        let is_newer = || self.view.load().seen_at >= called_at;
        self.gate.refresh_if_stale(is_newer, || self.refresh()).await;
        if is_newer() { Ok(self.view()) } else { Err(Unavailable::StaleSigningKeys) }
    }

    /// Returns a snapshot for publication. Tries for a limited time to refresh an outdated
    /// snapshot, because verifiers cache what a process publishes after it was suspended. If the
    /// database is unavailable, the outdated snapshot is better than none.
    pub async fn snapshot_to_publish(&self) -> Arc<KeySnapshot> {
        self.gate.refresh_if_stale(|| self.is_cacheable(&self.view.load()), || self.refresh()).await;
        self.view()
    }

    /// Loads a new snapshot. If this fails, the previous snapshot remains and ages.
    pub async fn refresh(&self) -> Result<(), Error> {
        let before = self.view();
        let view = self.loader.load(Some(&before)).await?;
        // The acceptance applies to one loaded snapshot, whatever its generation. Another rollback
        // needs another acceptance.
        let rollback_accepted = self.rollback_accepted.swap(false, Ordering::Relaxed);
        if view.counter < before.counter && !rollback_accepted {
            // Published keys must remain published (invariant K3) until an operator has decided.
            // The previous snapshot ages and stops signing.
            return Err(Unavailable::RolledBack.into());
        }
        let view = Arc::new(view);
        // A concurrent refresh may have loaded a newer snapshot.
        self.view.rcu(|now| Arc::clone(if now.seen_at > view.seen_at { now } else { &view }));
        Ok(())
    }

    /// Halts or resumes signing. After signing has resumed, the next refresh accepts a lower
    /// generation.
    pub fn set_halted(&self, halted: bool) {
        let was_halted = self.loader.halted.swap(halted, Ordering::Relaxed);
        if was_halted && !halted {
            self.rollback_accepted.store(true, Ordering::Relaxed);
        }
    }
}
