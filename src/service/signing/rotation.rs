//! Rotation: on schedule, by the first replica to find it due, and by hand.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::Settings,
    domain::{
        common::{derived_id::SigningKeyId, time::Timestamp},
        events::{Actor, Origin},
        signing::{
            Algorithm, SigningKeyMetadata, SigningKeyState,
            rotation::{PlannedStep, RotationStep, has_key_in_state},
        },
    },
    service::{
        Error, Services,
        caller::Caller,
        replicas,
        signing::{
            clock_monitor,
            clock_reference::Pace,
            loaded::{Listed, Looked, Timeline, refresh_keys},
            steps::{self, Press, activate},
        },
    },
    store::{self, Lock, NoEvent, Outcome, StoreError, Tx},
};

/// Maximum number of rounds in one tick: a step can make another one due, and the loop must end.
const MAX_ROUNDS_PER_TICK: usize = 4;

/// Executes the steps that are due by the clock. Every replica runs this; the first one executes a
/// step, and the others find it done.
pub async fn run_due_rotation(services: &Services) -> Result<(), Error> {
    clock_monitor::watch(services).await?;
    replicas::tell(services).await?;
    // In a rolled back database, no key changes state until an operator accepts it.
    if services.keys.view().is_halted() {
        return Ok(());
    }
    for _ in 0..MAX_ROUNDS_PER_TICK {
        let unusable = services.keys.view().unusable.clone();
        let (settings, of_look) = (services.settings.clone(), unusable.clone());
        let due = services.store.read(move |connection| {
            let now = store::now(connection)?;
            let looked = Looked::at(connection, &settings, now)?;
            let due = looked.due(now, &of_look);
            let measured = looked.collect_metrics(&looked.rules.plan(&looked.keys, now), now);
            Ok::<_, StoreError>((algorithms_to_generate(&looked, &due), due.is_empty(), measured))
        });
        let (needed, nothing_is_due, measured) = due.await?;
        services.metrics.set_signing_key_metrics(&measured);
        if nothing_is_due {
            return Ok(());
        }
        let mut press = Press::generate_for(services, needed).await?;
        let (settings, pace) = (services.settings.clone(), services.watch.reference_reading());
        services
            .store
            .run_transaction(Origin::of(Actor::System), move |tx| {
                let (now, looked) = lock_and_load_with_steady_clock(tx, &settings, &pace)?;
                let events = steps::execute_due_steps(tx, &looked, now, &unusable, &mut press)?;
                Ok::<_, Error>(Outcome::events_unless(NoEvent::Unchanged, (), events))
            })
            .await?;
        refresh_keys(services).await;
    }
    Ok(())
}

/// Locks the signing keys until `tx` ends and reads them. The time is taken after the wait for the
/// lock.
pub(crate) fn lock_and_load(tx: &mut Tx<'_>, settings: &Settings) -> Result<(Timestamp, Looked), StoreError> {
    tx.lock(Lock::SigningKeys)?;
    let now = store::now(tx)?;
    Ok((now, Looked::at(tx, settings, now)?))
}

/// Like `lock_and_load`, for steps that are due by time. Returns `Error::Unavailable` if the clock jumped
/// since the reading in `pace`.
pub(crate) fn lock_and_load_with_steady_clock(
    tx: &mut Tx<'_>,
    settings: &Settings,
    pace: &Pace,
) -> Result<(Timestamp, Looked), Error> {
    let (now, looked) = lock_and_load(tx, settings)?;
    if pace.is_steady_until(now, settings.timing.clock_skew) == Some(false) {
        return Err(Error::Unavailable("the database's clock was set a moment ago: no key is moved by it".to_owned()));
    }
    // No timestamp of a key may be later than the recorded reading of the clock.
    store::signing::clock::record_observation(tx, now)?;
    Ok((now, looked))
}

/// The algorithms for which the due steps publish a new key: those that have no next key, or will
/// have none.
fn algorithms_to_generate(looked: &Looked, due: &[PlannedStep]) -> BTreeSet<Algorithm> {
    let of = |kid: &SigningKeyId| looked.keys.iter().find(|key| key.kid == *kid).map(|key| key.algorithm);
    let algorithm = |planned: &PlannedStep| match &planned.step {
        RotationStep::Publish(algorithm) => Some(*algorithm),
        RotationStep::Activate(kid) => of(kid),
        RotationStep::ConfirmPublication(_)
        | RotationStep::Retire(_)
        | RotationStep::DestroyPrivateKey(_)
        | RotationStep::Remove(_) => None,
    };
    due.iter().filter_map(algorithm).collect()
}

/// The result of a rotation, performed or planned.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Rotated {
    pub activated: Listed,
    /// Absent from a plan: the key does not exist yet.
    pub next: Option<Listed>,
    pub retired: Vec<Listed>,
}

/// Activates the next key of the configured algorithm, keeps the old key published, and publishes a
/// new next key. Keys of other algorithms continue to sign while an audience requests them. Of two
/// concurrent rotations, the second is refused, because its next key was published too recently.
///
/// `wanted` is the key that a caller expects to activate, from a plan; another next key is an
/// `Error::Conflict`. `Error::TooEarly` carries the earliest safe time.
pub async fn rotate(services: &Services, caller: &Caller, wanted: Option<SigningKeyId>) -> Result<Rotated, Error> {
    require_trusted(services)?;
    clock_monitor::watch(services).await?;
    let mut press = Press::generate_for(services, [services.settings.signing_keys.algorithm]).await?;
    let (settings, unusable) = (services.settings.clone(), services.keys.view().unusable.clone());
    let pace = services.watch.reference_reading();
    let rotated = services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let (now, before) = lock_and_load_with_steady_clock(tx, &settings, &pace)?;
            let next = find_activatable_key(&before, settings.signing_keys.algorithm, now, &unusable)?.clone();
            if wanted.as_ref().is_some_and(|wanted| *wanted != next.kid) {
                return Err(Error::Conflict(format!("{} is next by now: look at the plan again", next.kid)));
            }
            let mut events = Vec::new();
            activate(tx, &before, &next, now, &mut events)?;
            let made = press.publish(tx, settings.signing_keys.algorithm, now, &mut events)?;
            let between = Looked::at(tx, &settings, now)?;
            events.extend(steps::execute_due_steps(tx, &between, now, &unusable, &mut press)?);
            let after = Looked::at(tx, &settings, now)?;
            let live = store::signing::live_tokens::count_unexpired(tx, now)?;
            let of = |wanted: &dyn Fn(&SigningKeyMetadata) -> bool| -> Vec<Listed> {
                after.keys.iter().filter(|key| wanted(key)).map(|key| after.view_key(key, now, &live)).collect()
            };
            let gone = || StoreError::invalid_data("a signing key vanished");
            let rotated = Rotated {
                activated: of(&|key| key.kid == next.kid).pop().ok_or_else(gone)?,
                next: of(&|key| made.as_ref().is_some_and(|made| made.kid == key.kid)).pop(),
                retired: of(&|key| key.state == SigningKeyState::Retiring),
            };
            Ok::<_, Error>(Outcome::events(rotated, events))
        })
        .await?;
    settle(services).await;
    Ok(rotated)
}

/// Refuses to change keys in a rolled back database that no operator has accepted.
pub(crate) fn require_trusted(services: &Services) -> Result<(), Error> {
    if services.keys.view().is_halted() {
        return Err(Error::Unavailable(
            "the database looks like an old backup; run `keyswap restore status` on the server".to_owned(),
        ));
    }
    Ok(())
}

/// Returns what `rotate` would do now, or its error, and the timeline that it starts from. Changes
/// nothing.
pub async fn preview_rotation(services: &Services) -> Result<(Result<Rotated, Error>, Timeline), Error> {
    require_trusted(services)?;
    let (settings, unusable) = (services.settings.clone(), services.keys.view().unusable.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let looked = Looked::at(connection, &settings, now)?;
            let live = store::signing::live_tokens::count_unexpired(connection, now)?;
            let next = find_activatable_key(&looked, settings.signing_keys.algorithm, now, &unusable);
            let rotated = next.map(|next| {
                let retires = |key: &&SigningKeyMetadata| {
                    key.state == SigningKeyState::Active
                        && (key.algorithm == next.algorithm || !looked.rules.requires_algorithm(key.algorithm))
                };
                // The removal time is reported as if the key were retired now.
                let until = |key: &SigningKeyMetadata| {
                    let (state, retired_at) = (SigningKeyState::Retiring, Some(now));
                    looked.rules.removal_time(&SigningKeyMetadata { state, retired_at, ..key.clone() }, now)
                };
                let retired = |key| Listed { may_be_removed_from: until(key), ..looked.view_key(key, now, &live) };
                Rotated {
                    activated: looked.view_key(next, now, &live),
                    next: None,
                    retired: looked.keys.iter().filter(retires).map(retired).collect(),
                }
            });
            Ok((rotated, looked.timeline(now, &live)))
        })
        .await
}

/// The next key of `algorithm`, if it may sign now and this replica can use it.
fn find_activatable_key<'a>(
    looked: &'a Looked,
    algorithm: Algorithm,
    now: Timestamp,
    unusable: &[SigningKeyId],
) -> Result<&'a SigningKeyMetadata, Error> {
    let is_next = |key: &&SigningKeyMetadata| key.state == SigningKeyState::Next && key.algorithm == algorithm;
    let next = looked.keys.iter().find(is_next);
    let next =
        next.ok_or_else(|| Error::Conflict(format!("no next key for {algorithm} is published; start the server")))?;
    if unusable.contains(&next.kid) {
        return Err(Error::Conflict(format!(
            "{} cannot be opened here: look at /readyz, or revoke it, and another one follows",
            next.kid
        )));
    }
    match looked.rules.activation_time(next, now) {
        Some(from) if from <= now => Ok(next),
        from => Err(Error::RotationTooEarly(from.unwrap_or_else(|| now.plus(looked.rules.timing.propagation_delay())))),
    }
}

/// Runs after a change of the keys. It refreshes the snapshot of this replica and marks published
/// keys as seen, which starts their propagation delay. After a failure, the next tick repeats the
/// work.
pub(crate) async fn settle(services: &Services) {
    refresh_keys(services).await;
    let (pace, tolerance) = (services.watch.reference_reading(), services.settings.timing.clock_skew);
    let seen = services.store.run_transaction(Origin::of(Actor::System), move |tx| {
        tx.lock(Lock::SigningKeys)?;
        let now = store::now(tx)?;
        // Recorded only if the clock advanced steadily since a reading of this process. Otherwise
        // the replicas that monitor the clock record it.
        if pace.is_steady_until(now, tolerance) == Some(true) {
            store::signing::clock::record_observation(tx, now)?;
        }
        store::signing::signing_keys::record_first_observation(tx, now)?;
        Ok::<_, StoreError>(Outcome::without_event((), NoEvent::InternalState))
    });
    if let Err(error) = seen.await {
        tracing::warn!(%error, "a signing key that was published could not be seen; the next tick does it");
    }
}

pub(crate) fn has_next(looked: &Looked, algorithm: Algorithm) -> bool {
    has_key_in_state(&looked.keys, algorithm, SigningKeyState::Next)
}

/// The token counts of a key that has signed nothing.
pub(crate) const NO_LIVE_TOKENS: BTreeMap<SigningKeyId, i64> = BTreeMap::new();
