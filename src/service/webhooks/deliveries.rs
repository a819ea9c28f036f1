//! The delivery log of a webhook, manual retries, and test messages.

use tokio::time::Instant;

use crate::{
    domain::{
        common::{
            id::{DeliveryId, GeneratedId, WebhookId},
            page::Page,
        },
        webhooks::{
            WebhookState,
            delivery::{Delivery, DeliveryState},
        },
    },
    outbound::WebhookResponse,
    service::{
        Conflict, Error, Services,
        caller::Caller,
        webhooks::message::{EncryptedEndpoint, Message},
    },
    store::{NoEvent, Outcome, webhooks},
};

/// The type of a test message; no event in the audit log has it.
const TEST_EVENT_TYPE: &str = "webhook.test";

/// The result of a test delivery.
// It contains neither the response body nor an address, which the caller has no right to see.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct TestDelivery {
    pub delivered: bool,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub took_ms: u64,
}

/// Lists the deliveries of a webhook, newest event first. `before` is an exclusive event sequence
/// number.
pub async fn list(
    services: &Services,
    webhook: WebhookId,
    before: Option<i64>,
    limit: i64,
) -> Result<Page<Delivery>, Error> {
    services
        .store
        .read(move |connection| {
            webhooks::find(connection, &webhook)?.ok_or(Error::NotFound("webhook"))?;
            Ok(webhooks::deliveries::list(connection, &webhook, before, limit)?)
        })
        .await
}

/// Schedules a delivery to be sent again at once, with all attempts left, whatever its state.
/// Returns `Error::Conflict` while it is being sent, or if the webhook is disabled.
pub async fn retry(
    services: &Services,
    caller: &Caller,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Delivery, Error> {
    services
        .change(caller, move |tx, _| {
            let webhook = webhooks::find_for_change(tx, &webhook)?.ok_or(Error::NotFound("webhook"))?;
            let delivery = webhooks::deliveries::find_for_change(tx, &webhook.id, &id)?;
            let mut delivery = delivery.ok_or(Error::NotFound("delivery"))?;
            if webhook.state != WebhookState::Enabled {
                return Err(Conflict::WebhookDisabled.into());
            }
            if delivery.leased_until.is_some_and(|until| tx.now() < until) {
                return Err(Conflict::DeliveryInProgress.into());
            }
            delivery.state = DeliveryState::Waiting;
            delivery.attempts = 0;
            delivery.next_attempt_at = Some(tx.now());
            delivery.leased_until = None;
            delivery.finished_at = None;
            webhooks::deliveries::update(tx, &delivery)?;
            Ok(Outcome::without_event(delivery, NoEvent::DeliveryLog))
        })
        .await
}

/// Sends a signed message of the type `webhook.test` once, even to a disabled webhook. It is not
/// recorded in the delivery log.
pub async fn test(services: &Services, id: WebhookId) -> Result<TestDelivery, Error> {
    let (endpoint, webhook, now) = services
        .store
        .read_at(move |connection, now| {
            let webhook = webhooks::find(connection, &id)?.ok_or(Error::NotFound("webhook"))?;
            Ok::<_, Error>((EncryptedEndpoint::load(connection, &webhook, now)?, webhook, now))
        })
        .await?;
    let data = serde_json::json!({ "webhook_id": webhook.id });
    let message_id = DeliveryId::generate(now, &services.entropy)?;
    let message = Message { id: message_id.to_string(), kind: TEST_EVENT_TYPE.to_owned(), timestamp: now, data };
    let endpoint = endpoint.decrypt(&services.master_keys)?;
    let started = Instant::now();
    let response = endpoint.send(&services.outbound, &message, now).await;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.as_ref().ok().map(|response| response.status);
    let error = match response {
        Ok(WebhookResponse { status: 200..=299, .. }) => None,
        Ok(_) => Some("only a status from 200 to 299 counts as delivered; redirects are not followed".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    Ok(TestDelivery { delivered: error.is_none(), status, error, took_ms })
}
