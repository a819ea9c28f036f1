//! The delivery worker: it leases deliveries, sends them outside any transaction, and records the
//! results. At-least-once: if the worker crashes before recording the result, its lease expires and
//! the delivery is retried.

use futures_util::future::join_all;

use crate::{
    domain::{
        common::{
            entropy::Entropy,
            id::WebhookId,
            time::{Span, Timestamp},
        },
        events::{Actor, EventType, NewEvent, Origin},
        webhooks::{
            DisableReason, WebhookState,
            delivery::{Delivery, DeliveryDecision, DeliveryState, PresentedCredential, judge, parse_retry_after},
        },
    },
    outbound::{Answer, RequestError},
    service::{
        Error, Services,
        webhooks::message::{EncryptedEndpoint, Endpoint, Message},
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
    telemetry::labels::Delivered,
};

/// Maximum number of concurrent deliveries to one webhook.
pub const AT_ONCE: i64 = 4;
/// Duration of a lease: three times the timeout of an attempt.
pub const LEASE_DURATION: Span = Span::from_secs(60);

/// Deliveries that were leased together.
struct LeasedBatch {
    endpoint: EncryptedEndpoint,
    now: Timestamp,
    deliveries: Vec<(Delivery, Message)>,
}

/// Returns the webhooks with deliveries to send now.
pub async fn due(services: &Services) -> Result<Vec<WebhookId>, StoreError> {
    services
        .store
        .read(|connection| {
            let now = store::now(connection)?;
            store::webhooks::deliveries::list_webhooks_with_due_deliveries(connection, now)
        })
        .await
}

/// Returns the age of the oldest waiting delivery of an enabled webhook.
pub async fn get_oldest_delivery_age(services: &Services) -> Result<Span, StoreError> {
    services
        .store
        .read(|connection| {
            let now = store::now(connection)?;
            let oldest = store::webhooks::deliveries::find_oldest_waiting(connection)?;
            Ok(oldest.map_or(Span::ZERO, |since| now.elapsed_since(since)))
        })
        .await
}

/// Sends a batch of due deliveries to a webhook. Returns whether another batch should follow at
/// once: this one was full, and every delivery succeeded.
pub async fn serve(services: &Services, id: &WebhookId) -> Result<bool, Error> {
    let Some(batch) = lease_deliveries(services, id.clone()).await? else { return Ok(false) };
    let endpoint = batch.endpoint.open(&services.master)?;
    let whole = i64::try_from(batch.deliveries.len()).is_ok_and(|count| count == AT_ONCE);
    let sent =
        batch.deliveries.into_iter().map(|(delivery, message)| send(services, &endpoint, delivery, message, batch.now));
    let mut go_on = whole;
    for result in join_all(sent).await {
        go_on &= result?;
    }
    Ok(go_on)
}

async fn lease_deliveries(services: &Services, id: WebhookId) -> Result<Option<LeasedBatch>, StoreError> {
    services
        .store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            let now = tx.now();
            let found = store::webhooks::find(tx, &id)?;
            let ready = |until: Option<Timestamp>| until.is_none_or(|until| until <= now);
            let Some(webhook) =
                found.filter(|webhook| webhook.state == WebhookState::Enabled && ready(webhook.paused_until))
            else {
                return Ok(Outcome::without_event(None, NoEvent::Unchanged));
            };
            let mut deliveries = Vec::new();
            for delivery in store::webhooks::deliveries::lease_due(tx, &id, AT_ONCE, now.plus(LEASE_DURATION))? {
                let event = store::events::find(tx, delivery.event_sequence_number)?.ok_or_else(|| {
                    StoreError::invalid_data(format!("event {} is gone", delivery.event_sequence_number))
                })?;
                let data = serde_json::to_value(&event).map_err(StoreError::invalid_data)?;
                let message = Message { id: event.id.to_string(), kind: event.kind, at: event.at, data };
                deliveries.push((delivery, message));
            }
            let endpoint = EncryptedEndpoint::load(tx, &webhook, now)?;
            let batch = (!deliveries.is_empty()).then_some(LeasedBatch { endpoint, now, deliveries });
            Ok(Outcome::without_event(batch, NoEvent::DeliveryLog))
        })
        .await
}

/// Sends a delivery and records the result. Returns whether it was delivered.
async fn send(
    services: &Services,
    endpoint: &Endpoint,
    delivery: Delivery,
    message: Message,
    now: Timestamp,
) -> Result<bool, Error> {
    let answer = endpoint.send(&services.outbound, &message, now).await;
    let attempt = match &answer {
        Ok(answer) => PresentedCredential::Response {
            status: answer.status,
            retry_after: answer.retry_after.as_deref().and_then(|text| parse_retry_after(text, now)),
        },
        Err(_) => PresentedCredential::NoResponse,
    };
    let mut jitter = [0; 2];
    services.entropy.fill(&mut jitter)?;
    let verdict = judge(attempt, delivery.attempts, u16::from_be_bytes(jitter));
    services.metrics.record_webhook_attempt(match verdict {
        DeliveryDecision::Delivered => Delivered::Delivered,
        DeliveryDecision::Retry { .. } => Delivered::Again,
        DeliveryDecision::ReceiverGone => Delivered::Gone,
        DeliveryDecision::RetriesExhausted => Delivered::RetriesExhausted,
    });
    tracing::debug!(webhook = %delivery.webhook_id, delivery = %delivery.id, attempts = delivery.attempts, ?answer, "sent");
    services.store.run_transaction(Origin::of(Actor::System), move |tx| record(tx, delivery, &answer, verdict)).await?;
    Ok(verdict == DeliveryDecision::Delivered)
}

fn record(
    tx: &mut Tx<'_>,
    claimed: Delivery,
    answer: &Result<Answer, RequestError>,
    verdict: DeliveryDecision,
) -> Result<Outcome<()>, StoreError> {
    let now = tx.now();
    // Locks the webhook before its delivery, in the same order as deletion does. Most results do
    // not change the webhook.
    let touches_webhook = match verdict {
        DeliveryDecision::Delivered | DeliveryDecision::Retry { pause: false, .. } => false,
        DeliveryDecision::Retry { pause: true, .. }
        | DeliveryDecision::ReceiverGone
        | DeliveryDecision::RetriesExhausted => true,
    };
    let webhook = if touches_webhook { store::webhooks::find_for_change(tx, &claimed.webhook_id)? } else { None };
    let found = store::webhooks::deliveries::find_for_change(tx, &claimed.webhook_id, &claimed.id)?;
    // If the lease expired and another worker has taken the delivery, or if it was deleted, this
    // result is discarded.
    let ours = |found: &Delivery| {
        found.state == DeliveryState::Waiting
            && found.attempts == claimed.attempts
            && found.leased_until == claimed.leased_until
    };
    let Some(mut delivery) = found.filter(ours) else { return Ok(Outcome::without_event((), NoEvent::Unchanged)) };
    delivery.leased_until = None;
    delivery.last_status = answer.as_ref().ok().map(|answer| answer.status);
    delivery.last_error = match (answer, verdict) {
        (_, DeliveryDecision::Delivered) => None,
        (Ok(answer), _) => Some(format!("answered {}", answer.status)),
        (Err(unreached), _) => Some(unreached.to_string()),
    };
    let mut event = None;
    let end = |state: DeliveryState, delivery: &mut Delivery| {
        delivery.state = state;
        delivery.next_attempt_at = None;
        delivery.finished_at = Some(now);
    };
    match verdict {
        DeliveryDecision::Delivered => end(DeliveryState::Delivered, &mut delivery),
        DeliveryDecision::Retry { after, pause } => {
            delivery.next_attempt_at = Some(now.plus(after));
            if pause {
                store::webhooks::pause_deliveries(tx, &claimed.webhook_id, now.plus(after))?;
            }
        }
        // The delivery keeps waiting, and is sent if the webhook is enabled again.
        DeliveryDecision::ReceiverGone => event = disable_webhook(tx, webhook, DisableReason::ReceiverGone)?,
        DeliveryDecision::RetriesExhausted => {
            end(DeliveryState::Failed, &mut delivery);
            // A receiver that accepted other deliveries in the meantime works and rejects only this
            // one.
            if !store::webhooks::deliveries::has_delivered_since(tx, &claimed.webhook_id, delivery.created_at)? {
                event = disable_webhook(tx, webhook, DisableReason::RetriesExhausted)?;
            }
        }
    }
    store::webhooks::deliveries::update(tx, &delivery)?;
    Ok(match event {
        Some(event) => Outcome::event((), event.with_data("event_id", delivery.event_id.as_str())),
        None => Outcome::without_event((), NoEvent::DeliveryLog),
    })
}

fn disable_webhook(
    tx: &mut Tx<'_>,
    webhook: Option<crate::domain::webhooks::Webhook>,
    why: DisableReason,
) -> Result<Option<NewEvent>, StoreError> {
    let Some(mut webhook) = webhook.filter(|webhook| webhook.state == WebhookState::Enabled) else { return Ok(None) };
    webhook.state = WebhookState::Disabled(why);
    store::webhooks::update(tx, &webhook)?;
    tracing::warn!(webhook = %webhook.id, reason = why.as_str(), "a webhook was disabled");
    Ok(Some(NewEvent::new(EventType::WebhookDisabled, &webhook.id).with_data("reason", why.as_str())))
}
