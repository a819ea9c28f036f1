//! The replica registry: each replica records that it is running, the keys that it publishes, and
//! its settings. Where settings differ, the strictest apply.

pub mod registration;

use std::{collections::BTreeSet, sync::Mutex};

use crate::{
    domain::{
        common::time::Timestamp,
        events::{Actor, Origin},
        signing::{
            Algorithm,
            rotation::{Rules, Steady},
        },
    },
    service::{
        App, Error, Settings,
        common::locks,
        replicas::registration::{Part, Told},
    },
    store::{self, Conn, Outcome, Store, StoreError, signing::replicas::Replica},
};

/// Registers a server before it serves: its settings apply from its first response.
pub async fn join(store: &Store, settings: &Settings) -> Result<Part, Error> {
    let of = settings.clone();
    let told = store
        .change(Origin::of(Actor::System), move |tx| {
            // Excludes transitions of signing keys: the next activation takes the token lifetime of
            // this replica into account, and the keys marked as seen below were committed before.
            store::lock(tx, locks::SIGNING_KEYS)?;
            let now = store::now(tx)?;
            let told = Told {
                id: tx.new_id()?,
                started_at: now,
                seen_at: now,
                published: String::new(),
                master_keys: String::new(),
            };
            store::signing::replicas::put(tx, &replica(&of, &told))?;
            // Precedes the first token that may live longer than all before it (invariant K9).
            store::signing::signing_keys::raise_longest_ttl(tx, of.timing.max_ttl)?;
            // A transaction other than the one that published missing keys at startup.
            store::signing::signing_keys::see_all(tx, now)?;
            Ok::<_, Error>(Outcome::bookkeeping(told))
        })
        .await?;
    Ok(Part(Mutex::new(Some(told))))
}

/// Updates the entry once a third of `replica_staleness` has passed, or when the published keys or
/// the master keys have changed. Deletes the entries of replicas that no longer count.
pub(crate) async fn tell(app: &App) -> Result<(), Error> {
    let Some(before) = app.part.lock().clone() else { return Ok(()) };
    let view = app.keys.view();
    let kids: Vec<_> = view.published.iter().map(|(info, _)| info.kid.as_str()).collect();
    let published = kids.join(" ");
    let master_keys = app.master.fingerprints().into_values().collect::<Vec<_>>().join(" ");
    let now = app.store.now().await?;
    let often = app.settings.timing.tells_every();
    // If the clock was set back, `seen_at` lies ahead and does not postpone the update.
    let is_known = published == before.published && master_keys == before.master_keys;
    if now >= before.seen_at && now.since(before.seen_at) < often && is_known {
        return Ok(());
    }
    let (told, settings) = (Told { published, master_keys, ..before }, app.settings.clone());
    let told = app
        .store
        .change(Origin::of(Actor::System), move |tx| {
            store::lock(tx, locks::SIGNING_KEYS)?;
            let told = Told { seen_at: store::now(tx)?, ..told };
            let others = store::signing::replicas::list(tx)?;
            if !others.iter().any(|other| other.id == told.id) {
                // The entry was deleted: keys activated since do not take the token lifetime of
                // this replica into account (invariant K9).
                store::signing::signing_keys::raise_longest_ttl(tx, settings.timing.max_ttl)?;
            }
            store::signing::replicas::put(tx, &replica(&settings, &told))?;
            store::signing::clock::note(tx, told.seen_at)?;
            for gone in others.iter().filter(|other| other.id != told.id && !counts(other, told.seen_at)) {
                store::signing::replicas::forget(tx, &gone.id)?;
            }
            Ok::<_, StoreError>(Outcome::bookkeeping(told))
        })
        .await?;
    *app.part.lock() = Some(told);
    Ok(())
}

fn replica(settings: &Settings, told: &Told) -> Replica {
    Replica {
        id: told.id.clone(),
        name: settings.replica_name.clone(),
        started_at: told.started_at,
        seen_at: told.seen_at,
        published: told.published.clone(),
        algorithm: settings.algorithm,
        rotation_period: settings.rotation_period,
        timing: settings.timing,
        master_keys: told.master_keys.clone(),
    }
}

/// Returns the replicas that are running according to their entries.
pub fn up(connection: &mut Conn) -> Result<Vec<Replica>, StoreError> {
    let now = store::now(connection)?;
    Ok(store::signing::replicas::list(connection)?.into_iter().filter(|replica| is_up(replica, now)).collect())
}

/// Whether a replica updated its entry within twice its `replica_staleness`.
pub(crate) fn is_up(replica: &Replica, now: Timestamp) -> bool {
    let staleness = replica.timing.replica_staleness;
    replica.seen_at.after(staleness + staleness) >= now
}

/// Whether tokens or a JWKS that the replica issued may still be in use.
fn counts(replica: &Replica, now: Timestamp) -> bool {
    replica.seen_at.after(replica.timing.until_forgotten()) >= now
}

/// The rules in effect for all replicas.
pub(crate) fn rules(
    settings: &Settings,
    replicas: &[Replica],
    asked: BTreeSet<Algorithm>,
    steady: Steady,
    now: Timestamp,
) -> Rules {
    let mut rules = Rules {
        timing: settings.timing,
        period: settings.rotation_period,
        configured: [settings.algorithm].into(),
        asked,
        steady,
    };
    for replica in replicas.iter().filter(|replica| counts(replica, now)) {
        rules.timing = rules.timing.stricter(replica.timing);
        if is_up(replica, now) {
            rules.configured.insert(replica.algorithm);
        }
    }
    rules
}
