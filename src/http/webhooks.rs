//! `/v1/webhooks`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{
        access::policy::ManageWebhooks,
        common::{
            id::{DeliveryId, OrganizationId, WebhookId},
            json::deserialize_present,
            name::Description,
            preconditions::Preconditions,
            time::{Span, Timestamp},
        },
        events::ActorRef,
        webhooks::{EventTypeFilter, Webhook, WebhookState, WebhookUrl, delivery::Delivery},
    },
    http::{
        extract::{Caller, Idempotent, Json, Limit, OptionalJson, Paging, Path, PathPair, Query},
        problem::Problem,
        response::{Created, Deleted, Issued, Listing, Object, Unversioned, impl_resource},
    },
    service::webhooks::{
        self, Activation, DEFAULT_SECRET_OVERLAP, NewWebhook, SecretRotation, WebhookPatch, WebhookWithSecret,
        deliveries::{self, TestDelivery},
    },
};

/// A webhook, to which events are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookBody {
    id: WebhookId,
    url: WebhookUrl,
    description: Option<Description>,
    event_types: Option<EventTypeFilter>,
    organization_id: Option<OrganizationId>,
    state: Activation,
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

impl_resource!(WebhookBody, "/v1/webhooks/{}", id; shown_once "secret");

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        let (state, disabled_reason) = match webhook.state {
            WebhookState::Enabled => (Activation::Enabled, None),
            WebhookState::Disabled(why) => (Activation::Disabled, Some(why.as_str())),
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

/// Parameters of a secret rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WebhookSecretRotation)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How long deliveries are also signed with the old secret. Defaults to 24h.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    overlap: Option<Span>,
}

/// Creates a webhook.
///
/// Its secret is returned only in this response.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageWebhooks>,
    Idempotent { body: Json(body), idempotency }: Idempotent<Json<NewWebhook>>,
) -> Result<Created<WebhookBody>, Problem> {
    Ok(webhooks::create(&caller.services, &caller, body, idempotency).await?.into())
}

/// Lists the webhooks, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller<ManageWebhooks>, Query(page): Query<Paging>) -> Result<Listing<WebhookBody>, Problem> {
    Ok(webhooks::list(&caller.services, page.into()).await?.into())
}

/// Retrieves a webhook, without its secret.
#[utoipa::path(get, path = "")]
pub async fn get(caller: Caller<ManageWebhooks>, Path(id): Path<WebhookId>) -> Result<Object<WebhookBody>, Problem> {
    Ok(Object(webhooks::get(&caller.services, id).await?.into()))
}

/// Updates a webhook.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageWebhooks>,
    Json(patch): Json<WebhookPatch>,
    Path(id): Path<WebhookId>,
    preconditions: Preconditions,
) -> Result<Object<WebhookBody>, Problem> {
    Ok(Object(webhooks::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Deletes a webhook.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    webhooks::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}

/// Rotates the secret of a webhook.
///
/// The response contains the new secret. The old one also signs deliveries until the overlap ends.
#[utoipa::path(post, path = "")]
pub async fn rotate_secret(
    caller: Caller<ManageWebhooks>,
    Idempotent { body: OptionalJson(body), idempotency }: Idempotent<OptionalJson<RotateBody>>,
    Path(id): Path<WebhookId>,
    preconditions: Preconditions,
) -> Result<Issued<WebhookBody>, Problem> {
    let rotation = SecretRotation { id, overlap: body.overlap.unwrap_or(DEFAULT_SECRET_OVERLAP), preconditions };
    Ok(webhooks::rotate_secret(&caller.services, &caller, rotation, idempotency).await?.into())
}

/// Sends a signed test delivery at once and returns the result.
#[utoipa::path(post, path = "")]
pub async fn test(
    caller: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
) -> Result<Unversioned<TestDelivery>, Problem> {
    Ok(Unversioned(deliveries::test(&caller.services, id).await?))
}

/// Pagination of the deliveries of a webhook.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryPaging {
    /// Maximum number of deliveries to return.
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `event_seq` of the last delivery of the previous page, as `next` contains it.
    after: Option<i64>,
}

/// Lists the deliveries of a webhook, newest first.
#[utoipa::path(get, path = "")]
pub async fn deliveries(
    caller: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    Query(DeliveryPaging { limit, after }): Query<DeliveryPaging>,
) -> Result<Listing<Delivery>, Problem> {
    Ok(deliveries::list(&caller.services, id, after, limit.0).await?.into())
}

/// Sends a delivery again.
#[utoipa::path(post, path = "")]
pub async fn retry(
    caller: Caller<ManageWebhooks>,
    PathPair(webhook, delivery): PathPair<WebhookId, DeliveryId>,
) -> Result<Unversioned<Delivery>, Problem> {
    Ok(Unversioned(deliveries::retry(&caller.services, &caller, webhook, delivery).await?))
}
