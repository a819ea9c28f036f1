//! The replica registry: each replica records that it is running, the keys that it publishes, and
//! its settings. Where settings differ, the strictest apply.

pub mod registration;

use std::{collections::BTreeSet, sync::Mutex};

use crate::{
    config::Settings,
    domain::{
        common::time::Timestamp,
        events::{Actor, Origin},
        signing::{
            Algorithm,
            rotation::{ClockStability, RotationRules},
        },
    },
    service::{
        Error, Services,
        replicas::registration::{ReplicaRegistration, ReplicaReport},
    },
    store::{self, Conn, Lock, NoEvent, Outcome, Store, StoreError, signing::replicas::Replica},
};

/// Registers a server before it serves: its settings apply from its first response.
pub async fn join(store: &Store, settings: &Settings) -> Result<ReplicaRegistration, Error> {
    let of = settings.clone();
    let told = store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            // Excludes transitions of signing keys: the next activation takes the token lifetime of
            // this replica into account, and the keys marked as seen below were committed before.
            tx.lock(Lock::SigningKeys)?;
            let now = store::now(tx)?;
            let told = ReplicaReport {
                id: tx.generate_id()?,
                name: process_name(),
                started_at: now,
                seen_at: now,
                published: String::new(),
                master_keys: String::new(),
            };
            store::signing::replicas::put(tx, &replica(&of, &told))?;
            // Precedes the first token that may live longer than all before it (invariant K9).
            store::signing::signing_keys::raise_max_token_ttl(tx, of.timing.max_ttl)?;
            // A transaction other than the one that published missing keys at startup.
            store::signing::signing_keys::record_first_observation(tx, now)?;
            Ok::<_, Error>(Outcome::without_event(told, NoEvent::InternalState))
        })
        .await?;
    Ok(ReplicaRegistration(Mutex::new(Some(told))))
}

/// Updates the entry once a third of `replica_staleness` has passed, or when the published keys or
/// the master keys have changed. Deletes the entries of replicas that no longer count.
pub(crate) async fn tell(services: &Services) -> Result<(), Error> {
    let Some(before) = services.replica_registration.lock().clone() else { return Ok(()) };
    let view = services.keys.view();
    let kids: Vec<_> = view.published.iter().map(|(info, _)| info.kid.as_str()).collect();
    let published = kids.join(" ");
    let master_keys = services.master.fingerprints().into_values().collect::<Vec<_>>().join(" ");
    let now = services.store.now().await?;
    let often = services.settings.timing.report_interval();
    // If the clock was set back, `seen_at` lies ahead and does not postpone the update.
    let is_known = published == before.published && master_keys == before.master_keys;
    if now >= before.seen_at && now.elapsed_since(before.seen_at) < often && is_known {
        return Ok(());
    }
    let (told, settings) = (ReplicaReport { published, master_keys, ..before }, services.settings.clone());
    let told = services
        .store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            tx.lock(Lock::SigningKeys)?;
            let told = ReplicaReport { seen_at: store::now(tx)?, ..told };
            let others = store::signing::replicas::list(tx)?;
            if !others.iter().any(|other| other.id == told.id) {
                // The entry was deleted: keys activated since do not take the token lifetime of
                // this replica into account (invariant K9).
                store::signing::signing_keys::raise_max_token_ttl(tx, settings.timing.max_ttl)?;
            }
            store::signing::replicas::put(tx, &replica(&settings, &told))?;
            store::signing::clock::record_observation(tx, told.seen_at)?;
            for gone in others.iter().filter(|other| other.id != told.id && !is_still_relevant(other, told.seen_at)) {
                store::signing::replicas::delete(tx, &gone.id)?;
            }
            Ok::<_, StoreError>(Outcome::without_event(told, NoEvent::InternalState))
        })
        .await?;
    *services.replica_registration.lock() = Some(told);
    Ok(())
}

fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id()).trim().to_owned()
}

fn replica(settings: &Settings, told: &ReplicaReport) -> Replica {
    Replica {
        id: told.id.clone(),
        name: told.name.clone(),
        started_at: told.started_at,
        last_heartbeat_at: told.seen_at,
        published_kids: told.published.clone(),
        algorithm: settings.signing_keys.algorithm,
        rotation_period: settings.signing_keys.rotation_period,
        timing: settings.timing,
        master_key_fingerprints: told.master_keys.clone(),
    }
}

/// Returns the replicas that are running according to their entries.
pub fn live(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    let now = store::now(connection)?;
    Ok(store::signing::replicas::list(connection)?.into_iter().filter(|replica| is_running(replica, now)).collect())
}

/// Whether a replica updated its entry within twice its `replica_staleness`.
pub(crate) fn is_running(replica: &Replica, now: Timestamp) -> bool {
    let staleness = replica.timing.max_snapshot_age;
    replica.last_heartbeat_at.plus(staleness + staleness) >= now
}

/// Whether tokens or a JWKS that the replica issued may still be in use.
fn is_still_relevant(replica: &Replica, now: Timestamp) -> bool {
    replica.last_heartbeat_at.plus(replica.timing.replica_retention()) >= now
}

/// The rules in effect for all replicas.
pub(crate) fn rules(
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
