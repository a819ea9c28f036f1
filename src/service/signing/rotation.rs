//! Rotation: on schedule, by the first replica to find it due, and by hand.

use std::collections::BTreeSet;

use crate::{
    domain::{
        common::derived_id::SigningKeyId,
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState, rotation::RotationStep},
    },
    service::{
        Conflict, Error, Services, Unavailable,
        caller::Caller,
        replicas,
        signing::{
            clock_monitor, key_change,
            key_publisher::KeyPublisher,
            rotation_state::{RotationState, SigningKeyItem, Timeline},
        },
    },
    store::{self, Lock, NoEvent, StoreError},
};

/// Maximum number of rounds in one run: a step can make another one due, and the loop must end.
const MAX_ROUNDS: usize = 4;

/// Executes the steps that are due by the clock. Every replica runs this; the first one executes a
/// step, and the others find it done.
pub async fn run_due_rotation(services: &Services) -> Result<(), Error> {
    clock_monitor::check_clock(services).await?;
    replicas::report(services).await?;
    // In a rolled back database, no key changes state until an operator accepts it.
    if services.keys.is_halted() {
        return Ok(());
    }
    for _ in 0..MAX_ROUNDS {
        let state = RotationState::load(services).await?;
        services.metrics.set_signing_key_metrics(&state.collect_metrics());
        let unusable = services.keys.view().unusable.clone();
        let due = state.due_steps(&unusable);
        if due.is_empty() {
            return Ok(());
        }
        // These steps publish a new key: their algorithms have no next key, or will have none.
        let publishes = |step: &RotationStep| matches!(step, RotationStep::Publish(_) | RotationStep::Activate(_));
        let algorithms: BTreeSet<_> = due
            .iter()
            .filter(|planned| publishes(&planned.step))
            .filter_map(|planned| state.algorithm_of(&planned.step))
            .collect();
        let mut publisher = KeyPublisher::generate(services, algorithms).await?;
        let reference = services.clock_monitor.reference();
        key_change::run(services, &Caller::for_system(), Some(reference), move |change| {
            change.execute_due_steps(&unusable, &mut publisher)
        })
        .await?;
        refresh_keys(services).await;
    }
    Ok(())
}

/// The result of a rotation.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Rotated)]
pub struct RotationResult {
    pub activated: SigningKeyItem,
    /// Null in a dry run, which does not create the next key.
    pub next: Option<SigningKeyItem>,
    pub retired: Vec<SigningKeyItem>,
}

/// Activates the next key of the configured algorithm, keeps the old key published, and publishes a
/// new next key. Keys of other algorithms continue to sign while an audience requests them. Of two
/// concurrent rotations, the second is refused, because its next key was published too recently.
///
/// `expected` is the key that a caller expects to activate, from a plan; another next key is an
/// `Error::Conflict`. `Error::RotationTooEarly` carries the earliest safe time.
pub async fn rotate(
    services: &Services,
    caller: &Caller,
    expected: Option<SigningKeyId>,
) -> Result<RotationResult, Error> {
    require_trusted_database(services)?;
    clock_monitor::check_clock(services).await?;
    let algorithm = services.settings.signing_keys.algorithm;
    let mut publisher = KeyPublisher::generate(services, [algorithm]).await?;
    let unusable = services.keys.view().unusable.clone();
    let reference = services.clock_monitor.reference();
    let rotated = key_change::run(services, caller, Some(reference), move |change| {
        let next = find_activatable_key(&change.state, algorithm, &unusable)?.clone();
        if expected.is_some_and(|expected| expected != next.kid) {
            return Err(Conflict::NextSigningKeyChanged(next.kid).into());
        }
        change.activate(&next)?;
        let published = change.publish(&mut publisher, algorithm)?;
        change.reload()?;
        change.execute_due_steps(&unusable, &mut publisher)?;
        change.reload()?;
        let state = &change.state;
        let describe = |key: &SigningKeyMetadata| state.find(&key.kid).map(|key| state.describe(key));
        let retiring = state.keys.iter().filter(|key| key.state == SigningKeyState::Retiring);
        let disappeared = || StoreError::invalid_data("a signing key disappeared");
        Ok(RotationResult {
            activated: describe(&next).ok_or_else(disappeared)?,
            next: published.as_ref().and_then(describe),
            retired: retiring.map(|key| state.describe(key)).collect(),
        })
    });
    let rotated = rotated.await?;
    confirm_publication(services).await;
    Ok(rotated)
}

/// Refuses to change keys in a rolled back database that no operator has accepted.
pub(crate) fn require_trusted_database(services: &Services) -> Result<(), Error> {
    if services.keys.is_halted() {
        return Err(Unavailable::RolledBack.into());
    }
    Ok(())
}

/// Returns what `rotate` would do now, or its error, and the timeline that it starts from. Changes
/// nothing.
pub async fn preview_rotation(services: &Services) -> Result<(Result<RotationResult, Error>, Timeline), Error> {
    require_trusted_database(services)?;
    let state = RotationState::load(services).await?;
    let (algorithm, view) = (services.settings.signing_keys.algorithm, services.keys.view());
    let rotated = find_activatable_key(&state, algorithm, &view.unusable).map(|next| {
        let retires = |key: &&SigningKeyMetadata| {
            key.state == SigningKeyState::Active
                && (key.algorithm == next.algorithm || !state.rules.requires_algorithm(key.algorithm))
        };
        // The removal time is reported as if the key were retired now.
        let retire = |key: &SigningKeyMetadata| {
            let retired =
                SigningKeyMetadata { state: SigningKeyState::Retiring, retired_at: Some(state.now), ..key.clone() };
            let may_be_removed_from = state.rules.removal_time(&retired, state.now);
            SigningKeyItem { may_be_removed_from, ..state.describe(key) }
        };
        RotationResult {
            activated: state.describe(next),
            next: None,
            retired: state.keys.iter().filter(retires).map(retire).collect(),
        }
    });
    Ok((rotated, state.timeline()))
}

/// The next key of `algorithm`, if it may sign now and this replica can use it.
fn find_activatable_key<'a>(
    state: &'a RotationState,
    algorithm: Algorithm,
    unusable: &[SigningKeyId],
) -> Result<&'a SigningKeyMetadata, Error> {
    let next = state.find_in_state(algorithm, SigningKeyState::Next).ok_or(Conflict::NoNextSigningKey(algorithm))?;
    if unusable.contains(&next.kid) {
        return Err(Conflict::NextSigningKeyUnusable(next.kid.clone()).into());
    }
    match state.rules.activation_time(next, state.now) {
        Some(from) if from <= state.now => Ok(next),
        from => {
            let estimate = || state.now.plus(state.rules.timing.propagation_delay());
            Err(Error::RotationTooEarly(from.unwrap_or_else(estimate)))
        }
    }
}

/// Runs after a change of the keys. It refreshes the snapshot of this replica and marks published
/// keys as seen, which starts their propagation delay. After a failure, the next scheduled run
/// repeats the work.
pub(crate) async fn confirm_publication(services: &Services) {
    refresh_keys(services).await;
    let (reference, tolerance) = (services.clock_monitor.reference(), services.settings.timing.clock_skew);
    let confirmed = services.store.run_internal(NoEvent::InternalState, move |tx| {
        tx.lock(Lock::SigningKeys)?;
        let now = store::now(tx)?;
        // Recorded only if the clock advanced steadily since a reading of this process. Otherwise
        // the replicas that monitor the clock record it.
        if reference.is_steady_until(now, tolerance) == Some(true) {
            store::signing::clock::record_observation(tx, now)?;
        }
        store::signing::signing_keys::record_first_observation(tx, now)
    });
    if let Err(error) = confirmed.await {
        tracing::warn!(%error, "failed to record that a signing key is published; will retry");
    }
}

/// Refreshes the snapshot after a commit. A failure does not undo the change.
async fn refresh_keys(services: &Services) {
    if let Err(error) = services.keys.refresh().await {
        tracing::warn!(%error, "failed to refresh the signing keys; will retry");
    }
}
