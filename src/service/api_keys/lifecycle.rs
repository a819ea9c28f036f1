//! Lifecycle transitions of a key: suspend, resume, revoke, delete.

use crate::{
    config::Settings,
    domain::{
        access::policy::ObjectRight,
        common::{
            id::KeyId,
            preconditions::{Preconditions, StoredObject},
        },
        credentials::api_key::ApiKey,
        events::{EventType, NewEvent},
    },
    service::{
        Error, Services,
        access::last_administrator,
        api_keys::{
            limits::require_grantable,
            lookup::{is_owner_deleted, key_event, lock_key, lock_key_to_revoke, require_not_revoked, save},
            types::ApiKeyView,
        },
        caller::Caller,
    },
    store::{self, NoEvent, Outcome, Tx},
};

/// A lifecycle transition that a caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTransition {
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
    step: KeyTransition,
    preconditions: Preconditions,
) -> Result<ApiKeyView, Error> {
    let settings = services.settings.clone();
    let change = move |tx: &mut Tx<'_>, caller: &Caller| -> Result<Outcome<ApiKeyView>, Error> {
        let before = match step {
            KeyTransition::Revoke | KeyTransition::Delete => lock_key_to_revoke(tx, caller, &id)?,
            KeyTransition::Suspend => lock_key(tx, caller, &id, ObjectRight::End)?,
            KeyTransition::Resume => lock_key(tx, caller, &id, ObjectRight::Change)?,
        };
        preconditions.check(StoredObject::Version(before.version))?;
        let permissions = before.attributes.permissions.clone();
        let (key, events) = last_administrator::keep_administrator(tx, caller, &settings, &permissions, |tx| {
            apply(tx, before, step, caller, &settings)
        })?;
        let view = ApiKeyView::new(key, tx.now(), &settings);
        Ok(Outcome::events_unless(NoEvent::Unchanged, view, events))
    };
    match step {
        KeyTransition::Resume => services.change(caller, change).await,
        KeyTransition::Suspend | KeyTransition::Revoke | KeyTransition::Delete => {
            services.end_access(caller, change).await
        }
    }
}

/// Performs a transition of a locked key, and returns the key and its events. A transition that has
/// already been made yields no event.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    before: ApiKey,
    step: KeyTransition,
    caller: &Caller,
    settings: &Settings,
) -> Result<(ApiKey, Vec<NewEvent>), Error> {
    let (mut key, now) = (before.clone(), Some(tx.now()));
    // A key whose owner was deleted is already revoked, and its `api_key.revoked` event is
    // recorded, unless the key had expired before.
    let is_end_recorded =
        is_owner_deleted(&key, settings) && store::directory::owner_deletions::is_end_recorded(tx, &key.id)?;
    let kind = match step {
        KeyTransition::Suspend => {
            require_not_revoked(&key, settings)?;
            key.suspended_at = key.suspended_at.or(now);
            EventType::ApiKeySuspended
        }
        KeyTransition::Resume => {
            require_not_revoked(&key, settings)?;
            require_grantable(&key, &caller.holdings)?;
            key.suspended_at = None;
            EventType::ApiKeyResumed
        }
        KeyTransition::Revoke => EventType::ApiKeyRevoked,
        KeyTransition::Delete => {
            key.archived_at = now;
            EventType::ApiKeyDeleted
        }
    };
    if step == KeyTransition::Delete || step == KeyTransition::Revoke && !is_end_recorded {
        key.revoked_at = key.revoked_at.or(now);
    }
    if key == before {
        return Ok((key, Vec::new()));
    }
    save(tx, &mut key)?;
    // Deletion implies revocation: consumers that follow only `api_key.revoked` must receive it.
    let implies_revocation = step == KeyTransition::Delete && before.revoked_at.is_none() && !is_end_recorded;
    let revoked = implies_revocation.then(|| key_event(EventType::ApiKeyRevoked, &key));
    let events = revoked.into_iter().chain([key_event(kind, &key)]).collect();
    Ok((key, events))
}
