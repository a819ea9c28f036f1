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
        events::{EventType, NewEvent, Origin},
        webhooks::{
            DisableReason, Webhook, WebhookState,
            delivery::{AttemptResult, Delivery, DeliveryDecision, DeliveryState, decide, parse_retry_after},
        },
    },
    outbound::{RequestError, WebhookResponse},
    service::{
        Error, Services,
        webhooks::message::{EncryptedEndpoint, Endpoint, Message},
    },
    store::{
        self, NoEvent, Outcome, StoreError, Tx,
        webhooks::{self, deliveries},
    },
    telemetry::labels::WebhookAttemptResult,
};

/// Maximum number of concurrent deliveries to one webhook.
const MAX_CONCURRENT_DELIVERIES: i64 = 4;
/// Duration of a lease: three times the timeout of an attempt.
pub const LEASE_DURATION: Span = Span::from_secs(60);

/// Deliveries that were leased together.
struct LeasedBatch {
    endpoint: EncryptedEndpoint,
    now: Timestamp,
    deliveries: Vec<(Delivery, Message)>,
}

/// Returns the webhooks with deliveries to send now.
pub async fn list_due_webhooks(services: &Services) -> Result<Vec<WebhookId>, StoreError> {
    services.store.read_at(deliveries::list_webhooks_with_due_deliveries).await
}

/// Returns the age of the oldest waiting delivery of an enabled webhook.
pub async fn get_oldest_delivery_age(services: &Services) -> Result<Span, StoreError> {
    services
        .store
        .read_at(|connection, now| {
            let oldest = deliveries::find_oldest_waiting(connection)?;
            Ok(oldest.map_or(Span::ZERO, |since| now.elapsed_since(since)))
        })
        .await
}

/// Sends a batch of due deliveries to a webhook. Returns whether another batch should follow at
/// once: this one was full, and every delivery succeeded.
pub async fn deliver_batch(services: &Services, id: &WebhookId) -> Result<bool, Error> {
    let Some(batch) = lease_deliveries(services, id.clone()).await? else { return Ok(false) };
    let endpoint = batch.endpoint.decrypt(&services.master_keys)?;
    let mut has_more = i64::try_from(batch.deliveries.len()).is_ok_and(|count| count == MAX_CONCURRENT_DELIVERIES);
    let sent = batch
        .deliveries
        .into_iter()
        .map(|(delivery, message)| send_delivery(services, &endpoint, delivery, message, batch.now));
    for result in join_all(sent).await {
        has_more &= result?;
    }
    Ok(has_more)
}

async fn lease_deliveries(services: &Services, id: WebhookId) -> Result<Option<LeasedBatch>, StoreError> {
    services
        .store
        .run_internal(NoEvent::DeliveryLog, move |tx| {
            let now = tx.now();
            let is_ready = |webhook: &Webhook| {
                webhook.state == WebhookState::Enabled && webhook.paused_until.is_none_or(|until| until <= now)
            };
            let Some(webhook) = webhooks::find(tx, &id)?.filter(is_ready) else { return Ok(None) };
            let mut deliveries = Vec::new();
            for delivery in deliveries::lease_due(tx, &id, MAX_CONCURRENT_DELIVERIES, now.plus(LEASE_DURATION))? {
                let event = store::events::find(tx, delivery.event_sequence_number)?.ok_or_else(|| {
                    StoreError::invalid_data(format!("event {} is missing", delivery.event_sequence_number))
                })?;
                let data = serde_json::to_value(&event).map_err(StoreError::invalid_data)?;
                let message = Message { id: event.id.to_string(), kind: event.kind, timestamp: event.at, data };
                deliveries.push((delivery, message));
            }
            let endpoint = EncryptedEndpoint::load(tx, &webhook, now)?;
            Ok((!deliveries.is_empty()).then_some(LeasedBatch { endpoint, now, deliveries }))
        })
        .await
}

/// Sends a delivery and records the result. Returns whether it was delivered.
async fn send_delivery(
    services: &Services,
    endpoint: &Endpoint,
    delivery: Delivery,
    message: Message,
    now: Timestamp,
) -> Result<bool, Error> {
    let response = endpoint.send(&services.outbound, &message, now).await;
    let attempt = match &response {
        Ok(response) => AttemptResult::Response {
            status: response.status,
            retry_after: response.retry_after.as_deref().and_then(|text| parse_retry_after(text, now)),
        },
        Err(_) => AttemptResult::NoResponse,
    };
    let mut jitter = [0; 2];
    services.entropy.fill(&mut jitter)?;
    let decision = decide(attempt, delivery.attempts, u16::from_be_bytes(jitter));
    services.metrics.record_webhook_attempt(match decision {
        DeliveryDecision::Delivered => WebhookAttemptResult::Delivered,
        DeliveryDecision::Retry { .. } => WebhookAttemptResult::Retried,
        DeliveryDecision::ReceiverGone => WebhookAttemptResult::ReceiverGone,
        DeliveryDecision::RetriesExhausted => WebhookAttemptResult::RetriesExhausted,
    });
    tracing::debug!(webhook = %delivery.webhook_id, delivery = %delivery.id, attempts = delivery.attempts, ?response, "attempted a delivery");
    services.store.run_transaction(Origin::SYSTEM, move |tx| record_result(tx, delivery, &response, decision)).await?;
    Ok(decision == DeliveryDecision::Delivered)
}

fn record_result(
    tx: &mut Tx<'_>,
    leased: Delivery,
    response: &Result<WebhookResponse, RequestError>,
    decision: DeliveryDecision,
) -> Result<Outcome<()>, StoreError> {
    let now = tx.now();
    // Locks the webhook before its delivery, in the same order as deletion does. Most results do
    // not change the webhook.
    let webhook = match decision {
        DeliveryDecision::Delivered | DeliveryDecision::Retry { pause: false, .. } => None,
        DeliveryDecision::Retry { pause: true, .. }
        | DeliveryDecision::ReceiverGone
        | DeliveryDecision::RetriesExhausted => webhooks::find_for_change(tx, &leased.webhook_id)?,
    };
    // If the lease expired and another worker has taken the delivery, or if it was deleted, this
    // result is discarded.
    let is_leased_here = |stored: &Delivery| {
        stored.state == DeliveryState::Waiting
            && stored.attempts == leased.attempts
            && stored.leased_until == leased.leased_until
    };
    let stored = deliveries::find_for_change(tx, &leased.webhook_id, &leased.id)?;
    let Some(mut delivery) = stored.filter(is_leased_here) else {
        return Ok(Outcome::without_event((), NoEvent::Unchanged));
    };
    delivery.leased_until = None;
    delivery.last_status = response.as_ref().ok().map(|response| response.status);
    delivery.last_error = match (response, decision) {
        (_, DeliveryDecision::Delivered) => None,
        (Ok(response), _) => Some(format!("status {}", response.status)),
        (Err(error), _) => Some(error.to_string()),
    };
    match decision {
        DeliveryDecision::Delivered => delivery.state = DeliveryState::Delivered,
        DeliveryDecision::Retry { after, .. } => delivery.next_attempt_at = Some(now.plus(after)),
        // The delivery keeps waiting, and is sent if the webhook is enabled again.
        DeliveryDecision::ReceiverGone => {}
        DeliveryDecision::RetriesExhausted => delivery.state = DeliveryState::Failed,
    }
    if delivery.state != DeliveryState::Waiting {
        delivery.next_attempt_at = None;
        delivery.finished_at = Some(now);
    }
    deliveries::update(tx, &delivery)?;
    let disabled = webhook.map(|webhook| apply_to_webhook(tx, webhook, &delivery, decision)).transpose()?.flatten();
    Ok(Outcome::events_unless(NoEvent::DeliveryLog, (), disabled.into_iter().collect()))
}

/// Pauses or disables the webhook. Returns the event if it was disabled.
fn apply_to_webhook(
    tx: &mut Tx<'_>,
    mut webhook: Webhook,
    delivery: &Delivery,
    decision: DeliveryDecision,
) -> Result<Option<NewEvent>, StoreError> {
    let reason = match decision {
        DeliveryDecision::Delivered | DeliveryDecision::Retry { pause: false, .. } => return Ok(None),
        DeliveryDecision::Retry { after, pause: true } => {
            let until = tx.now().plus(after);
            webhooks::pause_deliveries(tx, &webhook.id, until)?;
            return Ok(None);
        }
        DeliveryDecision::ReceiverGone => DisableReason::ReceiverGone,
        DeliveryDecision::RetriesExhausted => DisableReason::RetriesExhausted,
    };
    // A receiver that accepted other deliveries in the meantime works and rejects only this one.
    let rejects_only_this = reason == DisableReason::RetriesExhausted
        && deliveries::has_delivered_since(tx, &webhook.id, delivery.created_at)?;
    if rejects_only_this || webhook.state != WebhookState::Enabled {
        return Ok(None);
    }
    webhook.state = WebhookState::Disabled(reason);
    webhooks::update(tx, &webhook)?;
    tracing::warn!(webhook = %webhook.id, reason = reason.as_str(), "disabled a webhook");
    let event = NewEvent::new(EventType::WebhookDisabled, &webhook.id).with_data("reason", reason.as_str());
    Ok(Some(event.with_data("event_id", delivery.event_id.as_str())))
}
