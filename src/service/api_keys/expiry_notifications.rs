//! Events for keys that end without a request: owner deletions and expiry notifications. Each event
//! is recorded once, by one replica.

use crate::{
    domain::{
        credentials::expiry_notification::EXPIRED_DAYS,
        events::{Actor, EventType, NewEvent, Origin},
    },
    service::Services,
    store::{self, Lock, NoEvent, Outcome, StoreError},
};

/// Maximum number of keys per transaction: other transactions wait while the events are appended.
const KEYS_PER_TRANSACTION: i64 = 200;
/// Records `api_key.revoked` events for a batch of keys whose owner was deleted. Returns whether
/// more may remain.
pub async fn record_owner_deletions(services: &Services) -> Result<bool, StoreError> {
    // Usually there is nothing to record, and a read costs less than a write transaction.
    if !services.store.read(store::directory::owner_deletions::has_pending).await? {
        return Ok(false);
    }
    let ends_with_creator = services.settings.limits.end_with_creator;
    services
        .store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            if !tx.try_lock(Lock::ExpiryNotifications)? {
                return Ok(Outcome::without_event(false, NoEvent::Unchanged));
            }
            let Some((cause, ended)) =
                store::directory::owner_deletions::take_ended_keys(tx, KEYS_PER_TRANSACTION, ends_with_creator)?
            else {
                return Ok(Outcome::without_event(false, NoEvent::Unchanged));
            };
            let revoked = ended.into_iter().map(|key| {
                NewEvent::new(EventType::ApiKeyRevoked, &key.key)
                    .with_organization(key.organization.as_ref())
                    .with_cause(cause.as_str())
            });
            Ok(Outcome::events_unless(NoEvent::InternalState, true, revoked.collect()))
        })
        .await
}

/// Records `api_key.expiring` and `api_key.expired` events for a batch of keys. Returns whether
/// more may remain.
pub async fn record_expiry_notifications(services: &Services) -> Result<bool, StoreError> {
    let due = services.store.read(|connection| {
        let now = store::now(connection)?;
        store::api_keys::expiry_notifications::are_due(connection, now)
    });
    if !due.await? {
        return Ok(false);
    }
    services
        .store
        .run_transaction(Origin::of(Actor::System), |tx| {
            if !tx.try_lock(Lock::ExpiryNotifications)? {
                return Ok(Outcome::without_event(false, NoEvent::Unchanged));
            }
            let events: Vec<_> = store::api_keys::expiry_notifications::take_due(tx, KEYS_PER_TRANSACTION)?
                .into_iter()
                .map(|notification| {
                    let is_expired = notification.days == EXPIRED_DAYS;
                    let kind = if is_expired { EventType::ApiKeyExpired } else { EventType::ApiKeyExpiring };
                    let event = NewEvent::new(kind, &notification.key)
                        .with_organization(notification.organization.as_ref())
                        .with_data("expires_at", notification.ends_at.to_string());
                    if is_expired { event } else { event.with_data("days", notification.days) }
                })
                .collect();
            Ok(Outcome::events_unless(NoEvent::Unchanged, !events.is_empty(), events))
        })
        .await
}
