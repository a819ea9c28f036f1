//! Lifecycle transitions of a key: suspend, resume, revoke, delete.

use crate::{
    domain::{access::policy::Right, common::id::KeyId, events::EventType},
    service::{
        Error, Services,
        access::last_administrator,
        api_keys::{
            limits::require_grantable,
            lookup::{is_owner_deleted, key_event, lock_key, require_not_revoked, save},
            types::ApiKeyView,
        },
        caller::Caller,
        common::version::require_version,
    },
    store::{self, NoEvent, Outcome},
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
    if_version: Option<i64>,
) -> Result<ApiKeyView, Error> {
    let settings = services.settings.clone();
    services
        .change(caller, move |tx, caller| {
            let right = if step == KeyTransition::Resume { Right::Change } else { Right::End };
            let before = lock_key(tx, caller, &id, right)?;
            require_version(before.version, if_version)?;
            let (mut key, now) = (before.clone(), Some(tx.now()));
            // A key whose owner was deleted is already revoked, and its `api_key.revoked` event is
            // recorded.
            let is_end_recorded =
                is_owner_deleted(&key, &settings) && store::directory::owner_deletions::is_end_notified(tx, &id)?;
            let kind = match step {
                KeyTransition::Suspend => {
                    require_not_revoked(&key, &settings)?;
                    key.suspended_at = key.suspended_at.or(now);
                    EventType::ApiKeySuspended
                }
                KeyTransition::Resume => {
                    require_not_revoked(&key, &settings)?;
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
                return Ok(Outcome::without_event(ApiKeyView::new(key, tx.now(), &settings), NoEvent::Unchanged));
            }
            save(tx, &mut key)?;
            last_administrator::require_administrator_after_change(tx, &before.attributes.permissions, &settings)?;
            // Deletion implies revocation: consumers that follow only `api_key.revoked` must
            // receive it.
            let implies_revocation = step == KeyTransition::Delete && before.revoked_at.is_none() && !is_end_recorded;
            let revoked = implies_revocation.then(|| key_event(EventType::ApiKeyRevoked, &key));
            let events = revoked.into_iter().chain([key_event(kind, &key)]).collect();
            Ok(Outcome::events(ApiKeyView::new(key, tx.now(), &settings), events))
        })
        .await
}
