//! Deliveries of events to webhooks. A conditional update leases a delivery before it is sent, so
//! that only one replica sends it. If that replica crashes, the lease expires and the delivery is
//! retried.

use diesel::dsl::min;

use crate::{
    domain::{
        common::{
            id::{DeliveryId, WebhookId},
            page::Page,
            time::{Span, Timestamp},
        },
        webhooks::delivery::{Delivery, DeliveryState},
    },
    store::{
        column_types::HttpStatus,
        prelude::*,
        schema::{webhook_deliveries, webhooks},
    },
};

/// The retention of finished deliveries, which are shown in the delivery log.
pub const RETENTION: Span = Span::from_secs(30 * 24 * 3600);

selectable!(webhook_deliveries => Delivery {
    id, webhook_id, event_id, event_sequence_number = event_seq, event_type, state, attempts, next_attempt_at,
    leased_until, last_status as HttpStatus, last_error, created_at, finished_at,
});

/// Returns `Conflict` if there is already a delivery of the event to this webhook.
pub fn insert(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    diesel::insert_into(webhook_deliveries::table)
        .values(values!(webhook_deliveries, delivery =>
            id, webhook_id, event_seq = delivery.event_sequence_number, event_id, event_type, state, attempts,
            next_attempt_at, created_at,
        ))
        .execute_in(tx)
}

/// Writes the progress of a delivery.
pub fn update(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    diesel::update(webhook_deliveries::table.find(&delivery.id))
        .set(values!(webhook_deliveries, delivery =>
            state, attempts, next_attempt_at, leased_until, last_status = delivery.last_status.map(i32::from),
            last_error, finished_at,
        ))
        .execute_in(tx)
}

pub fn find(connection: &mut Conn, webhook: &WebhookId, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    webhook_deliveries::table
        .find(id)
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .select(Delivery::as_select())
        .load_first(connection)
}

/// Like `find`, but locks the delivery until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, webhook: &WebhookId, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    diesel::update(webhook_deliveries::table.find(id))
        .set(webhook_deliveries::attempts.eq(webhook_deliveries::attempts))
        .execute_in(tx)?;
    find(tx, webhook, id)
}

/// Returns the delivery log of a webhook, newest event first. `before` is the number of an event.
pub fn list(
    connection: &mut Conn,
    webhook: &WebhookId,
    before: Option<i64>,
    limit: i64,
) -> Result<Page<Delivery>, StoreError> {
    let found = webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .filter(webhook_deliveries::event_seq.lt(before.unwrap_or(i64::MAX)))
        .order(webhook_deliveries::event_seq.desc())
        .limit(limit + 1)
        .select(Delivery::as_select())
        .load_all(connection)?;
    Ok(Page::from_rows(found, limit, |delivery: &Delivery| delivery.event_sequence_number.to_string()))
}

/// Returns how many deliveries to a webhook are waiting.
pub fn count_waiting(connection: &mut Conn, webhook: &WebhookId) -> Result<i64, StoreError> {
    let waiting = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
        .filter(webhook_deliveries::webhook_id.eq(webhook));
    waiting.count().load_one(connection)
}

/// Returns when the oldest waiting delivery to an enabled webhook was created.
pub fn find_oldest_waiting(connection: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    webhook_deliveries::table
        .inner_join(webhooks::table)
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
        .filter(webhooks::disabled.is_null())
        .select(min(webhook_deliveries::created_at))
        .load_one(connection)
}

/// Returns the webhooks that have a delivery due now.
pub fn list_webhooks_with_due_deliveries(connection: &mut Conn, now: Timestamp) -> Result<Vec<WebhookId>, StoreError> {
    let unleased = webhook_deliveries::leased_until.is_null().or(webhook_deliveries::leased_until.le(now));
    let unpaused = webhooks::paused_until.is_null().or(webhooks::paused_until.le(now));
    webhook_deliveries::table
        .inner_join(webhooks::table)
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
        .filter(webhook_deliveries::next_attempt_at.le(now))
        .filter(unleased)
        .filter(webhooks::disabled.is_null())
        .filter(unpaused)
        .select(webhook_deliveries::webhook_id)
        .distinct()
        .load_all(connection)
}

/// Leases up to `limit` due deliveries until `until`, the longest due first, and counts an attempt
/// for each. A delivery that another transaction leases at the same time is skipped.
pub fn lease_due(
    tx: &mut Tx<'_>,
    webhook: &WebhookId,
    limit: i64,
    until: Timestamp,
) -> Result<Vec<Delivery>, StoreError> {
    let now = tx.now();
    let unleased = || webhook_deliveries::leased_until.is_null().or(webhook_deliveries::leased_until.le(now));
    let due: Vec<Delivery> = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .filter(webhook_deliveries::next_attempt_at.le(now))
        .filter(unleased())
        .order((webhook_deliveries::next_attempt_at.asc(), webhook_deliveries::event_seq.asc()))
        .limit(limit)
        .select(Delivery::as_select())
        .load_all(tx)?;
    let mut leased = Vec::with_capacity(due.len());
    for mut found in due {
        let still = webhook_deliveries::table
            .find(&found.id)
            .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
            .filter(webhook_deliveries::attempts.eq(found.attempts))
            .filter(unleased());
        let taken = diesel::update(still)
            .set((
                webhook_deliveries::attempts.eq(found.attempts + 1),
                webhook_deliveries::leased_until.eq(Some(until)),
                webhook_deliveries::last_status.eq(None::<i32>),
                webhook_deliveries::last_error.eq(None::<String>),
            ))
            .count_affected(tx)?;
        if taken == 1 {
            found.attempts += 1;
            found.leased_until = Some(until);
            leased.push(found);
        }
    }
    Ok(leased)
}

/// Returns whether the webhook accepted a delivery at `since` or later.
pub fn has_delivered_since(connection: &mut Conn, webhook: &WebhookId, since: Timestamp) -> Result<bool, StoreError> {
    let found: Option<String> = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Delivered))
        .filter(webhook_deliveries::webhook_id.eq(webhook))
        .filter(webhook_deliveries::finished_at.ge(since))
        .select(webhook_deliveries::id)
        .load_first(connection)?;
    Ok(found.is_some())
}

/// Makes all waiting deliveries to a webhook due now and resets their attempts.
pub fn reset_waiting(tx: &mut Tx<'_>, webhook: &WebhookId) -> Result<(), StoreError> {
    let now = tx.now();
    let waiting = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting))
        .filter(webhook_deliveries::webhook_id.eq(webhook));
    diesel::update(waiting)
        .set((webhook_deliveries::attempts.eq(0), webhook_deliveries::next_attempt_at.eq(Some(now))))
        .execute_in(tx)
}

/// Deletes deliveries that finished more than `RETENTION` ago.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let since = tx.now().minus(RETENTION);
    diesel::delete(webhook_deliveries::table.filter(webhook_deliveries::finished_at.le(since))).execute_in(tx)
}
