//! The replica registry: each replica records that it is running, the keys that it publishes, and
//! its settings. Where settings differ, the strictest apply.

pub mod registration;

use std::collections::BTreeSet;

use crate::{
    config::Settings,
    domain::{
        common::time::Timestamp,
        signing::{
            Algorithm,
            rotation::{ClockStability, RotationRules},
        },
    },
    service::{Error, Services, replicas::registration::ReplicaRegistration},
    store::{
        self, Conn, Lock, NoEvent, Store, StoreError,
        signing::{
            replicas::{self, Replica},
            signing_keys,
        },
    },
};

/// Registers a server before it serves: its settings apply from its first response.
pub async fn register(store: &Store, settings: &Settings) -> Result<ReplicaRegistration, Error> {
    let settings = settings.clone();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let registered = store.run_internal(NoEvent::InternalState, move |tx| {
        // Excludes transitions of signing keys: the next activation takes the token lifetime of
        // this replica into account, and the keys marked as seen below were committed before.
        tx.lock(Lock::SigningKeys)?;
        let now = store::now(tx)?;
        let replica = Replica {
            id: tx.generate_id()?,
            name: format!("{} {}", host.trim(), std::process::id()).trim().to_owned(),
            started_at: now,
            last_heartbeat_at: now,
            published_kids: String::new(),
            algorithm: settings.signing_keys.algorithm,
            rotation_period: settings.signing_keys.rotation_period,
            timing: settings.timing,
            master_key_fingerprints: String::new(),
        };
        replicas::put(tx, &replica)?;
        // Precedes the first token that may live longer than all before it (invariant K9).
        signing_keys::raise_max_token_ttl(tx, replica.timing.max_ttl)?;
        // A transaction other than the one that published missing keys at startup.
        signing_keys::record_first_observation(tx, now)?;
        Ok(replica)
    });
    Ok(ReplicaRegistration::new(registered.await?))
}

/// Updates the entry once a third of `replica_staleness` has passed, or when the published keys or
/// the master keys have changed. Deletes the entries of replicas that no longer count.
pub(crate) async fn report(services: &Services) -> Result<(), Error> {
    let Some(before) = services.replica_registration.lock().clone() else { return Ok(()) };
    let view = services.keys.view();
    let published_kids = view.published.iter().map(|(info, _)| info.kid.as_str()).collect::<Vec<_>>().join(" ");
    let master_key_fingerprints = services.master_keys.fingerprints().into_values().collect::<Vec<_>>().join(" ");
    let now = services.store.now().await?;
    let last = before.last_heartbeat_at;
    // If the clock was set back, the last report lies ahead and does not postpone the update.
    let is_recent = now >= last && now.elapsed_since(last) < before.timing.report_interval();
    let is_unchanged =
        published_kids == before.published_kids && master_key_fingerprints == before.master_key_fingerprints;
    if is_recent && is_unchanged {
        return Ok(());
    }
    let reported = services.store.run_internal(NoEvent::InternalState, move |tx| {
        tx.lock(Lock::SigningKeys)?;
        let now = store::now(tx)?;
        let replica = Replica { last_heartbeat_at: now, published_kids, master_key_fingerprints, ..before };
        let (own, others): (Vec<_>, Vec<_>) =
            replicas::list(tx)?.into_iter().partition(|stored| stored.id == replica.id);
        if own.is_empty() {
            // The entry was deleted: keys activated since do not take the token lifetime of this
            // replica into account (invariant K9).
            signing_keys::raise_max_token_ttl(tx, replica.timing.max_ttl)?;
        }
        replicas::put(tx, &replica)?;
        store::signing::clock::record_observation(tx, now)?;
        for gone in others.iter().filter(|other| !is_still_relevant(other, now)) {
            replicas::delete(tx, &gone.id)?;
        }
        Ok(replica)
    });
    let reported = reported.await?;
    *services.replica_registration.lock() = Some(reported);
    Ok(())
}

/// Returns the replicas that are running according to their entries.
pub fn list_running(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    let now = store::now(connection)?;
    Ok(replicas::list(connection)?.into_iter().filter(|replica| is_running(replica, now)).collect())
}

/// Whether a replica updated its entry within twice its `replica_staleness`.
pub(crate) fn is_running(replica: &Replica, now: Timestamp) -> bool {
    let staleness = replica.timing.replica_staleness;
    replica.last_heartbeat_at.plus(staleness + staleness) >= now
}

/// Whether tokens or a JWKS that the replica issued may still be in use.
fn is_still_relevant(replica: &Replica, now: Timestamp) -> bool {
    replica.last_heartbeat_at.plus(replica.timing.replica_retention()) >= now
}

/// The rules in effect for all replicas.
pub(crate) fn combine_rules(
    settings: &Settings,
    replicas: &[Replica],
    audience_algorithms: BTreeSet<Algorithm>,
    stable_since: ClockStability,
    now: Timestamp,
) -> RotationRules {
    let mut rules = RotationRules {
        timing: settings.timing,
        rotation_period: settings.signing_keys.rotation_period,
        configured_algorithms: [settings.signing_keys.algorithm].into(),
        audience_algorithms,
        stable_since,
    };
    for replica in replicas.iter().filter(|replica| is_still_relevant(replica, now)) {
        rules.timing = rules.timing.strictest(replica.timing);
        if is_running(replica, now) {
            rules.configured_algorithms.insert(replica.algorithm);
        }
    }
    rules
}
