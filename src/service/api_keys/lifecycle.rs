//! Lifecycle transitions of a key: suspend, resume, revoke, delete.

use crate::{
    domain::{access::policy::Right, common::id::KeyId, events::EventType},
    service::{
        Error, Services,
        access::last_administrator,
        api_keys::{
            limits::require_grantable,
            lookup::{is_owner_deleted, key_event, lock_key, require_not_revoked, save},
            types::Shown,
        },
        caller::Caller,
        common::version::require_version,
    },
    store::{self, NoEvent, Outcome},
};

/// A lifecycle transition that a caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Suspend,
    Resume,
    Revoke,
    /// Revokes the key and archives it.
    Delete,
}

/// Performs a lifecycle transition. Once this has returned, no exchange that begins later sees the
/// previous state (invariant 2). A transition that has already been made changes nothing.
/// Suspending or resuming a revoked key is an `Error::Conflict`.
pub async fn step(
    services: &Services,
    caller: &Caller,
    id: KeyId,
    step: Step,
    if_version: Option<i64>,
) -> Result<Shown, Error> {
    let (settings, caller) = (services.settings.clone(), caller.clone());
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let right = if step == Step::Resume { Right::Change } else { Right::End };
            let mut key = lock_key(tx, &caller, &id, right)?;
            require_version(key.version, if_version)?;
            let whole = key.clone();
            let before = key.lifecycle;
            let now = Some(tx.now());
            // A key whose owner was deleted is already revoked, and its `api_key.revoked` event is
            // recorded.
            let is_end_recorded =
                is_owner_deleted(&key, &settings) && store::directory::owner_deletions::is_end_notified(tx, &id)?;
            let kind = match step {
                Step::Suspend => {
                    require_not_revoked(&key, &settings)?;
                    key.lifecycle.suspended_at = before.suspended_at.or(now);
                    EventType::ApiKeySuspended
                }
                Step::Resume => {
                    require_not_revoked(&key, &settings)?;
                    require_grantable(&key, &caller.holdings)?;
                    key.lifecycle.suspended_at = None;
                    EventType::ApiKeyResumed
                }
                Step::Revoke if is_end_recorded => {
                    return Ok(Outcome::without_event(Shown::new(key, tx.now(), &settings), NoEvent::Unchanged));
                }
                Step::Revoke => {
                    key.lifecycle.revoked_at = before.revoked_at.or(now);
                    EventType::ApiKeyRevoked
                }
                Step::Delete => {
                    key.lifecycle.revoked_at = before.revoked_at.or(now);
                    key.archived_at = now;
                    EventType::ApiKeyDeleted
                }
            };
            if key.lifecycle == before && step != Step::Delete {
                return Ok(Outcome::without_event(Shown::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            save(tx, &mut key)?;
            last_administrator::require_administrator_after_key_change(tx, &whole, &settings)?;
            let event = key_event(kind, &key);
            // Deletion implies revocation: consumers that follow only `api_key.revoked` must
            // receive it.
            let revoked = step == Step::Delete && before.revoked_at.is_none() && !is_end_recorded;
            let first = revoked.then(|| key_event(EventType::ApiKeyRevoked, &key));
            Ok(Outcome::events(Shown::new(key, tx.now(), &settings), first.into_iter().chain([event]).collect()))
        })
        .await
}
