//! The transitions of signing keys within a transaction, each with its event.

use crate::{
    config::Settings,
    domain::{
        common::derived_id::SigningKeyId,
        events::{EventType, NewEvent},
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState, rotation::RotationStep},
    },
    service::{
        Conflict, Error, Services, Unavailable,
        caller::Caller,
        signing::{
            clock_reference::ClockReference,
            key_publisher::{KeyPublisher, Publication, concurrent_change, signing_key_event},
            rotation_state::RotationState,
        },
    },
    store::{
        self, Lock, NoEvent, Outcome, StoreError, Tx,
        signing::{manifest, signing_keys},
    },
};

/// A change of signing keys in progress.
pub(crate) struct KeyChange<'a, 'tx> {
    pub tx: &'a mut Tx<'tx>,
    settings: &'a Settings,
    pub state: RotationState,
    pub events: Vec<NewEvent>,
}

/// Runs a change of signing keys, which are locked until the transaction ends. Returns
/// `Error::Unavailable` if the clock jumped since `reference`, which is given for steps that are
/// due by time.
pub(crate) async fn run<T: Send + 'static>(
    services: &Services,
    caller: &Caller,
    reference: Option<ClockReference>,
    body: impl FnOnce(&mut KeyChange<'_, '_>) -> Result<T, Error> + Clone + Send + 'static,
) -> Result<T, Error> {
    let settings = services.settings.clone();
    services
        .change(caller, move |tx, _| {
            tx.lock(Lock::SigningKeys)?;
            // After the wait for the lock.
            let now = store::now(tx)?;
            let keys = manifest::list_for_change(tx)?;
            let state = RotationState::read(tx, &settings, now, keys)?;
            if let Some(reference) = reference {
                if reference.is_steady_until(now, settings.timing.clock_skew) == Some(false) {
                    return Err(Unavailable::ClockUnsteady.into());
                }
                // No timestamp of a key may be later than the recorded reading of the clock.
                store::signing::clock::record_observation(tx, now)?;
            }
            let mut change = KeyChange { tx, settings: &settings, state, events: Vec::new() };
            let value = body(&mut change)?;
            Ok(Outcome::events_unless(NoEvent::InternalState, value, change.events))
        })
        .await
}

impl KeyChange<'_, '_> {
    /// Reads the keys again, with the changes that were made.
    pub fn reload(&mut self) -> Result<(), StoreError> {
        let keys = manifest::list_for_change(self.tx)?;
        self.state = RotationState::read(self.tx, self.settings, self.state.now, keys)?;
        Ok(())
    }

    /// Executes the steps that are due, in the order of the plan. The publication of a key that was
    /// not generated is left to the next run.
    pub fn execute_due_steps(&mut self, unusable: &[SigningKeyId], publisher: &mut KeyPublisher) -> Result<(), Error> {
        let (now, due) = (self.state.now, self.state.due_steps(unusable));
        // Before the publications below: this transaction cannot mark its own publications as seen.
        if due.iter().any(|planned| matches!(planned.step, RotationStep::ConfirmPublication(_))) {
            signing_keys::record_first_observation(self.tx, now)?;
        }
        for planned in due {
            let key = planned.step.kid().and_then(|kid| self.state.find(kid)).cloned();
            match (planned.step, key) {
                (RotationStep::Publish(algorithm), _) => {
                    self.publish(publisher, algorithm)?;
                }
                (RotationStep::Activate(_), Some(key)) => {
                    self.activate(&key)?;
                    self.publish(publisher, key.algorithm)?;
                }
                (RotationStep::Retire(_), Some(key)) => self.transition(&key, SigningKeyState::Retiring)?,
                (RotationStep::DestroyPrivateKey(_), Some(key)) => {
                    if signing_keys::destroy_private_key(self.tx, &key, now)? {
                        self.events.push(signing_key_event(EventType::SigningKeyDestroyed, &key));
                    }
                }
                (RotationStep::Remove(_), Some(key)) => self.transition(&key, SigningKeyState::Removed)?,
                (RotationStep::ConfirmPublication(_), _) | (_, None) => {}
            }
        }
        Ok(())
    }

    /// Publishes a next key of `algorithm`; `None` if no private key was generated for it.
    pub fn publish(
        &mut self,
        publisher: &mut KeyPublisher,
        algorithm: Algorithm,
    ) -> Result<Option<SigningKeyMetadata>, Error> {
        let published = publisher.publish(self.tx, algorithm, Publication::NEXT, self.state.now)?;
        Ok(published.map(|(key, event)| {
            self.events.push(event);
            key
        }))
    }

    /// Publishes a next key of `algorithm` in place of the current one, which has never signed.
    pub fn replace_next(
        &mut self,
        publisher: &mut KeyPublisher,
        algorithm: Algorithm,
    ) -> Result<SigningKeyMetadata, Error> {
        if let Some(replaced) = self.state.find_in_state(algorithm, SigningKeyState::Next).cloned() {
            self.transition(&replaced, SigningKeyState::Removed)?;
        }
        self.publish(publisher, algorithm)?.ok_or_else(concurrent_change)
    }

    /// Activates a next key and retires the active key of its algorithm. The recorded longest token
    /// lifetime of active keys rises to the longest that any replica allows.
    pub fn activate(&mut self, next: &SigningKeyMetadata) -> Result<(), Error> {
        let active = self.state.find_in_state(next.algorithm, SigningKeyState::Active).cloned();
        if let Some(active) = active {
            self.transition(&active, SigningKeyState::Retiring)?;
        }
        self.transition(next, SigningKeyState::Active)?;
        let max_ttl = self.state.rules.timing.max_ttl;
        Ok(signing_keys::raise_max_token_ttl(self.tx, max_ttl)?)
    }

    pub fn transition(&mut self, key: &SigningKeyMetadata, to: SigningKeyState) -> Result<(), Error> {
        match signing_keys::transition_state(self.tx, key, to, self.state.now) {
            Ok(true) => {}
            Ok(false) | Err(StoreError::Conflict(_)) => {
                return Err(Conflict::ChangedConcurrently(format!("signing key {}", key.kid)).into());
            }
            Err(error) => return Err(error.into()),
        }
        let kind = match to {
            SigningKeyState::Next => EventType::SigningKeyPublished,
            SigningKeyState::Active => EventType::SigningKeyActivated,
            SigningKeyState::Retiring => EventType::SigningKeyRetired,
            SigningKeyState::Removed => EventType::SigningKeyRemoved,
            SigningKeyState::Revoked => EventType::SigningKeyRevoked,
        };
        self.events.push(signing_key_event(kind, key));
        Ok(())
    }
}
