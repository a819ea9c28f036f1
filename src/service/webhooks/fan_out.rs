//! From the trail to deliveries. A change pays nothing for webhooks: each webhook has a place in the trail, and moves on in the
//! transaction that makes its deliveries. So nothing is missed, and nothing is there twice.

use crate::{
    domain::{
        delivery::{Delivery, DeliveryState},
        event::{Actor, EventFilter, Origin},
        id::WebhookId,
        webhook::State,
    },
    service::App,
    store::{self, Conn, Outcome, StoreError, Tx},
};

/// How many may wait for one webhook. What comes after them waits in the trail.
pub const MOST_WAITING: i64 = 1000;
/// How many webhooks move on in one transaction, and by how many events.
const WEBHOOKS: usize = 20;
const EVENTS: i64 = 100;
/// Whoever does this does it alone: another replica would only wait for the rows.
const LOCK: i64 = 0x006b_6579_7377_0004;

/// Makes deliveries of events that are new, and says whether there may be more.
///
/// # Errors
/// The database does not answer.
pub async fn fan_out(app: &App) -> Result<bool, StoreError> {
    let behind = app.store.read(behind).await?;
    if behind.is_empty() {
        return Ok(false);
    }
    app.store
        .change(Origin::of(Actor::System), move |tx| {
            if !store::try_lock(tx, LOCK)? {
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

/// Webhooks that have not seen the end of the trail, and have room. In the order of their ids, as everyone locks them.
fn behind(connection: &mut Conn) -> Result<Vec<WebhookId>, StoreError> {
    let (head, _) = store::events::head(connection)?;
    let mut found = Vec::new();
    for id in store::webhooks::behind(connection, head)? {
        if found.len() == WEBHOOKS {
            break;
        }
        if store::webhook_deliveries::waiting(connection, &id)? < MOST_WAITING {
            found.push(id);
        }
    }
    found.sort();
    Ok(found)
}

fn move_on(tx: &mut Tx<'_>, id: &WebhookId) -> Result<bool, StoreError> {
    // Read again under the lock: someone may have moved, disabled or deleted it.
    let Some(webhook) = store::webhooks::find_for_change(tx, id)? else { return Ok(false) };
    if webhook.state != State::Enabled {
        return Ok(false);
    }
    let mut room = MOST_WAITING - store::webhook_deliveries::waiting(tx, id)?;
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
            store::webhook_deliveries::insert(tx, &delivery)?;
        }
        seen = event.seq;
    }
    if seen > webhook.cursor {
        store::webhooks::set_seen(tx, id, seen)?;
    }
    Ok(seen > webhook.cursor)
}
