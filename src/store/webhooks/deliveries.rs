//! Deliveries of events to webhooks. A conditional update leases a delivery before it is sent, so
//! that only one replica sends it. If that replica crashes, the lease expires and the delivery is
//! retried.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper, dsl::min,
};

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
        columns::parsed,
        error::StoreError,
        pool::Conn,
        schema::{webhook_deliveries, webhooks},
        transaction::Tx,
    },
};

/// The retention of finished deliveries, which are shown in the delivery log.
pub const RETENTION: Span = Span::from_secs(30 * 24 * 3600);

#[derive(Queryable, Selectable)]
#[diesel(table_name = webhook_deliveries)]
struct Row {
    id: String,
    webhook_id: String,
    event_seq: i64,
    event_id: String,
    event_type: String,
    state: String,
    attempts: i32,
    next_attempt_at: Option<i64>,
    leased_until: Option<i64>,
    last_status: Option<i32>,
    last_error: Option<String>,
    created_at: i64,
    finished_at: Option<i64>,
}

/// Returns `Conflict` if there is already a delivery of the event to this webhook.
pub fn insert(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    diesel::insert_into(webhook_deliveries::table)
        .values((
            webhook_deliveries::id.eq(delivery.id.as_str()),
            webhook_deliveries::webhook_id.eq(delivery.webhook_id.as_str()),
            webhook_deliveries::event_seq.eq(delivery.event_sequence_number),
            webhook_deliveries::event_id.eq(delivery.event_id.as_str()),
            webhook_deliveries::event_type.eq(delivery.event_type.as_str()),
            webhook_deliveries::state.eq(delivery.state.as_str()),
            webhook_deliveries::attempts.eq(delivery.attempts),
            webhook_deliveries::next_attempt_at.eq(delivery.next_attempt_at.map(Timestamp::millis)),
            webhook_deliveries::created_at.eq(delivery.created_at.millis()),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Writes the progress of a delivery.
pub fn update(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    diesel::update(webhook_deliveries::table.find(delivery.id.as_str()))
        .set((
            webhook_deliveries::state.eq(delivery.state.as_str()),
            webhook_deliveries::attempts.eq(delivery.attempts),
            webhook_deliveries::next_attempt_at.eq(delivery.next_attempt_at.map(Timestamp::millis)),
            webhook_deliveries::leased_until.eq(delivery.leased_until.map(Timestamp::millis)),
            webhook_deliveries::last_status.eq(delivery.last_status.map(i32::from)),
            webhook_deliveries::last_error.eq(delivery.last_error.clone()),
            webhook_deliveries::finished_at.eq(delivery.finished_at.map(Timestamp::millis)),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, webhook: &WebhookId, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    let row: Option<Row> = webhook_deliveries::table
        .find(id.as_str())
        .filter(webhook_deliveries::webhook_id.eq(webhook.as_str()))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.map(delivery_from_row).transpose()
}

/// Like `find`, but locks the delivery until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, webhook: &WebhookId, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    diesel::update(webhook_deliveries::table.find(id.as_str()))
        .set(webhook_deliveries::attempts.eq(webhook_deliveries::attempts))
        .execute(&mut **tx)?;
    find(tx, webhook, id)
}

/// Returns the delivery log of a webhook, newest event first. `before` is the number of an event.
pub fn list(
    connection: &mut Conn,
    webhook: &WebhookId,
    before: Option<i64>,
    limit: i64,
) -> Result<Page<Delivery>, StoreError> {
    let rows: Vec<Row> = webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(webhook.as_str()))
        .filter(webhook_deliveries::event_seq.lt(before.unwrap_or(i64::MAX)))
        .order(webhook_deliveries::event_seq.desc())
        .limit(limit + 1)
        .select(Row::as_select())
        .load(connection)?;
    let found = rows.into_iter().map(delivery_from_row).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, limit, |delivery| delivery.event_sequence_number.to_string()))
}

/// Returns how many deliveries to a webhook are waiting.
pub fn count_waiting(connection: &mut Conn, webhook: &WebhookId) -> Result<i64, StoreError> {
    let waiting = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(webhook_deliveries::webhook_id.eq(webhook.as_str()));
    Ok(waiting.count().get_result(connection)?)
}

/// Returns when the oldest waiting delivery to an enabled webhook was created.
pub fn find_oldest_waiting(connection: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    let oldest: Option<i64> = webhook_deliveries::table
        .inner_join(webhooks::table)
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(webhooks::disabled.is_null())
        .select(min(webhook_deliveries::created_at))
        .first(connection)?;
    Ok(oldest.map(Timestamp::from_millis))
}

/// Returns the webhooks that have a delivery due now.
pub fn list_webhooks_with_due_deliveries(connection: &mut Conn, now: Timestamp) -> Result<Vec<WebhookId>, StoreError> {
    let now = now.millis();
    let unclaimed = webhook_deliveries::leased_until.is_null().or(webhook_deliveries::leased_until.le(now));
    let unpaused = webhooks::paused_until.is_null().or(webhooks::paused_until.le(now));
    let ids: Vec<String> = webhook_deliveries::table
        .inner_join(webhooks::table)
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(webhook_deliveries::next_attempt_at.le(now))
        .filter(unclaimed)
        .filter(webhooks::disabled.is_null())
        .filter(unpaused)
        .select(webhook_deliveries::webhook_id)
        .distinct()
        .load(connection)?;
    ids.iter().map(|id| parsed("webhook id", id)).collect()
}

/// Leases up to `limit` due deliveries until `until`, the longest due first, and counts an attempt
/// for each. A delivery that another transaction leases at the same time is skipped.
pub fn lease_due(
    tx: &mut Tx<'_>,
    webhook: &WebhookId,
    limit: i64,
    until: Timestamp,
) -> Result<Vec<Delivery>, StoreError> {
    let now = tx.now().millis();
    let unclaimed = || webhook_deliveries::leased_until.is_null().or(webhook_deliveries::leased_until.le(now));
    let rows: Vec<Row> = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(webhook_deliveries::webhook_id.eq(webhook.as_str()))
        .filter(webhook_deliveries::next_attempt_at.le(now))
        .filter(unclaimed())
        .order((webhook_deliveries::next_attempt_at.asc(), webhook_deliveries::event_seq.asc()))
        .limit(limit)
        .select(Row::as_select())
        .load(&mut **tx)?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let mut found = delivery_from_row(row)?;
        let still = webhook_deliveries::table
            .find(found.id.to_string())
            .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(webhook_deliveries::attempts.eq(found.attempts))
            .filter(unclaimed());
        let taken = diesel::update(still)
            .set((
                webhook_deliveries::attempts.eq(found.attempts + 1),
                webhook_deliveries::leased_until.eq(Some(until.millis())),
                webhook_deliveries::last_status.eq(None::<i32>),
                webhook_deliveries::last_error.eq(None::<String>),
            ))
            .execute(&mut **tx)?;
        if taken == 1 {
            found.attempts += 1;
            found.leased_until = Some(until);
            claimed.push(found);
        }
    }
    Ok(claimed)
}

/// Returns whether the webhook accepted a delivery at `since` or later.
pub fn has_delivered_since(connection: &mut Conn, webhook: &WebhookId, since: Timestamp) -> Result<bool, StoreError> {
    let found: Option<String> = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Delivered.as_str()))
        .filter(webhook_deliveries::webhook_id.eq(webhook.as_str()))
        .filter(webhook_deliveries::finished_at.ge(since.millis()))
        .select(webhook_deliveries::id)
        .first(connection)
        .optional()?;
    Ok(found.is_some())
}

/// Makes all waiting deliveries to a webhook due now and resets their attempts.
pub fn reset_waiting(tx: &mut Tx<'_>, webhook: &WebhookId) -> Result<(), StoreError> {
    let now = tx.now().millis();
    let waiting = webhook_deliveries::table
        .filter(webhook_deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(webhook_deliveries::webhook_id.eq(webhook.to_string()));
    diesel::update(waiting)
        .set((webhook_deliveries::attempts.eq(0), webhook_deliveries::next_attempt_at.eq(Some(now))))
        .execute(&mut **tx)?;
    Ok(())
}

/// Deletes deliveries that finished more than `RETENTION` ago.
pub fn delete_expired(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let since = tx.now().millis().saturating_sub(RETENTION.millis());
    diesel::delete(webhook_deliveries::table.filter(webhook_deliveries::finished_at.le(since))).execute(&mut **tx)?;
    Ok(())
}

fn delivery_from_row(row: Row) -> Result<Delivery, StoreError> {
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == row.state);
    Ok(Delivery {
        id: parsed("delivery id", &row.id)?,
        webhook_id: parsed("webhook id", &row.webhook_id)?,
        event_id: parsed("event id", &row.event_id)?,
        event_sequence_number: row.event_seq,
        event_type: row.event_type,
        state: state.ok_or_else(|| StoreError::InvalidData(format!("a delivery is {}", row.state)))?,
        attempts: row.attempts,
        next_attempt_at: row.next_attempt_at.map(Timestamp::from_millis),
        leased_until: row.leased_until.map(Timestamp::from_millis),
        last_status: row.last_status.and_then(|status| u16::try_from(status).ok()),
        last_error: row.last_error,
        created_at: Timestamp::from_millis(row.created_at),
        finished_at: row.finished_at.map(Timestamp::from_millis),
    })
}
