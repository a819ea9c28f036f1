//! Creates deliveries from the audit log. Transactions that record events do no work for webhooks:
//! each webhook has an event cursor, which advances in the transaction that creates its deliveries.
//! No event is missed, and none is delivered twice by this step.

use crate::{
    domain::{
        common::id::WebhookId,
        event_filter::EventFilter,
        webhooks::{
            WebhookState,
            delivery::{Delivery, DeliveryState},
        },
    },
    service::Services,
    store::{
        self, Conn, Lock, NoEvent, StoreError, Tx,
        webhooks::{self, deliveries},
    },
};

/// Maximum number of waiting deliveries of one webhook. Later events remain in the audit log.
pub const MAX_WAITING_DELIVERIES: i64 = 1000;
/// Maximum number of webhooks, and of events for each, in one transaction.
const MAX_WEBHOOKS_PER_TRANSACTION: usize = 20;
const MAX_EVENTS_PER_WEBHOOK: i64 = 100;
/// Creates deliveries for new events. Returns whether more may remain.
pub async fn fan_out(services: &Services) -> Result<bool, StoreError> {
    let lagging = services.store.read(find_lagging_webhooks).await?;
    if lagging.is_empty() {
        return Ok(false);
    }
    services
        .store
        .run_internal(NoEvent::DeliveryLog, move |tx| {
            let mut has_advanced = false;
            if tx.try_lock(Lock::DeliveryFanOut)? {
                for id in &lagging {
                    has_advanced |= advance_cursor(tx, id)?;
                }
            }
            Ok(has_advanced)
        })
        .await
}

/// The webhooks whose event cursor is behind the chain head and that have room, in id order, in
/// which every transaction locks them.
fn find_lagging_webhooks(connection: &mut Conn) -> Result<Vec<WebhookId>, StoreError> {
    let (head, _) = store::events::read_chain_head(connection)?;
    let mut lagging = Vec::new();
    for id in webhooks::list_behind_event(connection, head)? {
        if lagging.len() == MAX_WEBHOOKS_PER_TRANSACTION {
            break;
        }
        if deliveries::count_waiting(connection, &id)? < MAX_WAITING_DELIVERIES {
            lagging.push(id);
        }
    }
    lagging.sort();
    Ok(lagging)
}

fn advance_cursor(tx: &mut Tx<'_>, id: &WebhookId) -> Result<bool, StoreError> {
    // Read again under the row lock: the webhook may have advanced, or been disabled or deleted.
    let Some(webhook) = webhooks::find_for_change(tx, id)? else { return Ok(false) };
    if webhook.state != WebhookState::Enabled {
        return Ok(false);
    }
    let mut capacity = MAX_WAITING_DELIVERIES - deliveries::count_waiting(tx, id)?;
    let mut cursor = webhook.event_cursor;
    for event in
        store::events::list(tx, &EventFilter::default(), Some(webhook.event_cursor), MAX_EVENTS_PER_WEBHOOK)?.data
    {
        if webhook.matches_event(&event) {
            if capacity <= 0 {
                break;
            }
            capacity -= 1;
            let delivery = Delivery {
                id: tx.generate_id()?,
                webhook_id: id.clone(),
                event_id: event.id,
                event_sequence_number: event.seq,
                event_type: event.kind,
                state: DeliveryState::Waiting,
                attempts: 0,
                next_attempt_at: Some(tx.now()),
                leased_until: None,
                last_status: None,
                last_error: None,
                created_at: tx.now(),
                finished_at: None,
            };
            deliveries::insert(tx, &delivery)?;
        }
        cursor = event.seq;
    }
    if cursor > webhook.event_cursor {
        webhooks::set_event_cursor(tx, id, cursor)?;
    }
    Ok(cursor > webhook.event_cursor)
}
