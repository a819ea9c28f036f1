//! Creates deliveries from the audit log. Transactions that record events do no work for webhooks:
//! each webhook has an event cursor, which advances in the transaction that creates its deliveries.
//! No event is missed, and none is delivered twice by this step.

use crate::{
    domain::{
        common::id::WebhookId,
        events::{Actor, EventFilter, Origin},
        webhooks::{
            State,
            delivery::{Delivery, DeliveryState},
        },
    },
    service::{App, common::locks},
    store::{self, Conn, Outcome, StoreError, Tx},
};

/// Maximum number of waiting deliveries of one webhook. Later events remain in the audit log.
pub const MOST_WAITING: i64 = 1000;
/// Maximum number of webhooks, and of events for each, in one transaction.
const WEBHOOKS: usize = 20;
const EVENTS: i64 = 100;
/// Creates deliveries for new events. Returns whether more may remain.
pub async fn fan_out(app: &App) -> Result<bool, StoreError> {
    let behind = app.store.read(behind).await?;
    if behind.is_empty() {
        return Ok(false);
    }
    app.store
        .change(Origin::of(Actor::System), move |tx| {
            if !store::try_lock(tx, locks::FAN_OUT)? {
                return Ok(Outcome::bookkeeping(false));
            }
            let mut moved = false;
            for id in &behind {
                moved |= move_on(tx, id)?;
            }
            Ok(Outcome::bookkeeping(moved))
        })
        .await
}

/// The webhooks whose event cursor is behind the chain head and that have room, in id order, in
/// which every transaction locks them.
fn behind(connection: &mut Conn) -> Result<Vec<WebhookId>, StoreError> {
    let (head, _) = store::events::head(connection)?;
    let mut found = Vec::new();
    for id in store::webhooks::behind(connection, head)? {
        if found.len() == WEBHOOKS {
            break;
        }
        if store::webhooks::deliveries::waiting(connection, &id)? < MOST_WAITING {
            found.push(id);
        }
    }
    found.sort();
    Ok(found)
}

fn move_on(tx: &mut Tx<'_>, id: &WebhookId) -> Result<bool, StoreError> {
    // Read again under the row lock: the webhook may have advanced, or been disabled or deleted.
    let Some(webhook) = store::webhooks::find_for_change(tx, id)? else { return Ok(false) };
    if webhook.state != State::Enabled {
        return Ok(false);
    }
    let mut room = MOST_WAITING - store::webhooks::deliveries::waiting(tx, id)?;
    let mut seen = webhook.cursor;
    for event in store::events::list(tx, &EventFilter::default(), Some(webhook.cursor), EVENTS)?.data {
        if webhook.wants(&event) {
            if room <= 0 {
                break;
            }
            room -= 1;
            let delivery = Delivery {
                id: tx.new_id()?,
                webhook: id.clone(),
                event_id: event.id,
                event_seq: event.seq,
                event_type: event.kind,
                state: DeliveryState::Waiting,
                attempts: 0,
                next_attempt_at: Some(tx.now()),
                claimed_until: None,
                last_status: None,
                last_error: None,
                created_at: tx.now(),
                finished_at: None,
            };
            store::webhooks::deliveries::insert(tx, &delivery)?;
        }
        seen = event.seq;
    }
    if seen > webhook.cursor {
        store::webhooks::set_seen(tx, id, seen)?;
    }
    Ok(seen > webhook.cursor)
}
