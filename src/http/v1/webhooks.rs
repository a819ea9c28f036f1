//! `/v1/webhooks`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        delivery::{Delivery, DeliveryState},
        event::ActorRef,
        id::{DeliveryId, EventId, OrganizationId, WebhookId},
        name::DisplayName,
        policy::ManageWebhooks,
        time::{Span, Timestamp},
        webhook::{EventTypes, State, Webhook, WebhookUrl},
    },
    http::{
        access::Caller,
        openapi::{
            answers::{Gone, Listing, Made as MadeAnswer, Object, Plain, Rekeyed},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
    },
    service::{
        App,
        idempotency::Created,
        webhooks::{
            self, DEFAULT_OVERLAP, Made, NewWebhook, PatchWebhook,
            deliveries::{self, Tested},
        },
    },
};

use super::{
    created,
    json::{Body, Json, OptionalJson, nullable},
    object,
    params::{Query, id, if_match},
    plain,
};

/// A webhook, to which events are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookBody {
    id: WebhookId,
    url: WebhookUrl,
    description: Option<DisplayName>,
    event_types: Option<EventTypes>,
    organization_id: Option<OrganizationId>,
    state: StateBody,
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
enum StateBody {
    Enabled,
    Disabled,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        let (state, disabled_reason) = match webhook.state {
            State::Enabled => (StateBody::Enabled, None),
            State::Disabled(why) => (StateBody::Disabled, Some(why.as_str())),
        };
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            event_types: webhook.event_types,
            organization_id: webhook.organization,
            state,
            disabled_reason,
            old_secret_until: webhook.old_secret_until,
            paused_until: webhook.paused_until,
            created_at: webhook.created_at,
            created_by: webhook.created_by,
            version: webhook.version,
            secret: None,
        }
    }
}

impl From<Made> for WebhookBody {
    fn from(made: Made) -> Self {
        Self { secret: Some(made.secret.expose().to_string()), ..Self::from(made.webhook) }
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
            event_seq: delivery.event_seq,
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
pub struct TestedBody {
    delivered: bool,
    status: Option<u16>,
    error: Option<String>,
    took_ms: u64,
}

impl From<Tested> for TestedBody {
    fn from(tested: Tested) -> Self {
        Self {
            delivered: tested.error.is_none(),
            status: tested.status,
            error: tested.error,
            took_ms: u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A webhook to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    url: WebhookUrl,
    #[serde(default)]
    description: Option<DisplayName>,
    #[serde(default)]
    event_types: Option<EventTypes>,
    #[serde(default)]
    organization_id: Option<OrganizationId>,
}

/// Changes to a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    #[serde(default)]
    url: Option<WebhookUrl>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<DisplayName>>,
    #[serde(default, deserialize_with = "nullable")]
    event_types: Option<Option<EventTypes>>,
    #[serde(default, deserialize_with = "nullable")]
    organization_id: Option<Option<OrganizationId>>,
    #[serde(default)]
    state: Option<StateBody>,
}

/// Parameters of a secret rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WebhookSecretRotation)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How long deliveries are also signed with the old secret. Defaults to 24h.
    #[serde(default)]
    overlap: Option<Span>,
}

/// Creates a webhook.
///
/// Its secret is returned only in this response.
#[utoipa::path(post, path = "", params(Once), responses(MadeAnswer<WebhookBody>))]
pub async fn create(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    body: Json<CreateBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewWebhook {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
    };
    let (body, replayed) = match webhooks::create(&app, &caller.identity, new, once).await? {
        Created::New(made) => (WebhookBody::from(made), false),
        Created::Replayed(webhook) => (WebhookBody::from(webhook), true),
    };
    let location = format!("{}/v1/webhooks/{}", app.issuer(), body.id);
    Ok(created(body.version, location, replayed, &body))
}

/// Lists the webhooks, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<WebhookBody>))]
pub async fn list(_: Caller<ManageWebhooks>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&webhooks::list(&app, query.page()?).await?.map(WebhookBody::from)))
}

/// Retrieves a webhook, without its secret.
#[utoipa::path(get, path = "", params(InPath<WebhookId>), responses(Object<WebhookBody>))]
pub async fn get(_: Caller<ManageWebhooks>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let webhook = webhooks::get(&app, id(&request, "id")?).await?;
    Ok(object(webhook.version, &WebhookBody::from(webhook)))
}

/// Updates a webhook.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<WebhookId>, IfMatch), responses(Object<WebhookBody>))]
pub async fn patch(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    body: Json<PatchBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = PatchWebhook {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
        enabled: body.state.map(|state| state == StateBody::Enabled),
    };
    let (id, if_version) = (id(&request, "id")?, if_match(&request)?);
    let webhook = webhooks::patch(&app, &caller.identity, id, patch, if_version).await?;
    Ok(object(webhook.version, &WebhookBody::from(webhook)))
}

/// Deletes a webhook.
#[utoipa::path(delete, path = "", params(InPath<WebhookId>, IfMatch), responses(Gone))]
pub async fn delete(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    webhooks::delete(&app, &caller.identity, id(&request, "id")?, if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Rotates the secret of a webhook.
///
/// The response contains the new secret. The old one also signs deliveries until the overlap ends.
#[utoipa::path(post, path = "", params(InPath<WebhookId>, IfMatch), responses(Rekeyed<WebhookBody>))]
pub async fn rotate_secret(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    body: OptionalJson<RotateBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let overlap = body.read().await?.overlap.unwrap_or(DEFAULT_OVERLAP);
    let (id, if_version) = (id(&request, "id")?, if_match(&request)?);
    let made = webhooks::rotate_secret(&app, &caller.identity, id, overlap, if_version).await?;
    Ok(object(made.webhook.version, &WebhookBody::from(made)))
}

/// Sends a signed test delivery at once and returns the result.
#[utoipa::path(post, path = "", params(InPath<WebhookId>), responses(Plain<TestedBody>))]
pub async fn test(_: Caller<ManageWebhooks>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&TestedBody::from(deliveries::test(&app, id(&request, "id")?).await?)))
}

/// Lists the deliveries of a webhook, newest first.
#[utoipa::path(get, path = "", params(InPath<WebhookId>, Paging), responses(Listing<DeliveryBody>))]
pub async fn deliveries(
    _: Caller<ManageWebhooks>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    let before = query.parse("after", "the event_seq of a delivery, as `next` gives it")?;
    let page = deliveries::list(&app, id(&request, "id")?, before, query.limit()?).await?;
    Ok(plain(&page.map(DeliveryBody::from)))
}

/// Sends a delivery again.
#[utoipa::path(post, path = "", params(InPath<WebhookId>, InPath<DeliveryId>), responses(Plain<DeliveryBody>))]
pub async fn retry(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let (webhook, delivery) = (id(&request, "id")?, id(&request, "delivery")?);
    let delivery = deliveries::retry(&app, &caller.identity, webhook, delivery).await?;
    Ok(plain(&DeliveryBody::from(delivery)))
}
