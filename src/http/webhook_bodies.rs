//! Bodies of webhooks and deliveries.

use crate::{
    domain::{
        common::{
            id::{DeliveryId, EventId, OrganizationId, WebhookId},
            name::DisplayName,
            time::Timestamp,
        },
        events::ActorRef,
        webhooks::{
            EventTypeFilter, Webhook, WebhookState, WebhookUrl,
            delivery::{Delivery, DeliveryState},
        },
    },
    http::response::impl_resource,
    service::webhooks::{WebhookWithSecret, deliveries::TestResult},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A webhook, to which events are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookBody {
    id: WebhookId,
    url: WebhookUrl,
    description: Option<DisplayName>,
    event_types: Option<EventTypeFilter>,
    organization_id: Option<OrganizationId>,
    state: WebhookStateBody,
    /// Why the webhook is disabled: `requested`, `gone` if the receiver answered 410, or
    /// `exhausted` if all attempts of a delivery failed. Null if it is enabled.
    disabled_reason: Option<&'static str>,
    old_secret_until: Option<Timestamp>,
    paused_until: Option<Timestamp>,
    created_at: Timestamp,
    created_by: ActorRef,
    version: i64,
    /// The signing secret. Present only in the responses to create and rotate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

/// Whether events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookState, examples("enabled"))]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebhookStateBody {
    Enabled,
    Disabled,
}

impl_resource!(WebhookBody, "/v1/webhooks/{}", id);

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        let (state, disabled_reason) = match webhook.state {
            WebhookState::Enabled => (WebhookStateBody::Enabled, None),
            WebhookState::Disabled(why) => (WebhookStateBody::Disabled, Some(why.as_str())),
        };
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            event_types: webhook.event_types,
            organization_id: webhook.organization,
            state,
            disabled_reason,
            old_secret_until: webhook.previous_secret_expires_at,
            paused_until: webhook.paused_until,
            created_at: webhook.created_at,
            created_by: webhook.created_by,
            version: webhook.version,
            secret: None,
        }
    }
}

impl From<WebhookWithSecret> for WebhookBody {
    fn from(WebhookWithSecret { webhook, secret }: WebhookWithSecret) -> Self {
        Self { secret: Some(secret.expose().to_string()), ..Self::from(webhook) }
    }
}

/// The delivery of one event to one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryBody {
    id: DeliveryId,
    event_id: EventId,
    event_seq: i64,
    event_type: String,
    state: DeliveryState,
    attempts: i32,
    next_attempt_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            event_seq: delivery.event_sequence_number,
            event_type: delivery.event_type,
            state: delivery.state,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            created_at: delivery.created_at,
            finished_at: delivery.finished_at,
        }
    }
}

/// The result of a test delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestDelivery)]
pub struct TestDeliveryBody {
    delivered: bool,
    status: Option<u16>,
    error: Option<String>,
    took_ms: u64,
}

impl From<TestResult> for TestDeliveryBody {
    fn from(tested: TestResult) -> Self {
        Self {
            delivered: tested.error.is_none(),
            status: tested.status,
            error: tested.error,
            took_ms: u64::try_from(tested.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
