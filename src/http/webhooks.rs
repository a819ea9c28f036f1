//! `/v1/webhooks`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageWebhooks,
        common::{
            id::{DeliveryId, OrganizationId, WebhookId},
            name::DisplayName,
            time::Span,
        },
        webhooks::{EventTypeFilter, WebhookUrl},
    },
    http::{
        extract::{
            access::Caller,
            json::{Body, Json, OptionalJson, deserialize_nullable},
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Made as MadeAnswer, Object, Plain, Rekeyed},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
        webhook_bodies::{DeliveryBody, TestDeliveryBody, WebhookBody, WebhookStateBody},
    },
    service::{
        Services,
        common::idempotency::CreateOutcome,
        webhooks::{self, DEFAULT_SECRET_OVERLAP, NewWebhook, WebhookPatch, deliveries},
    },
};

/// A webhook to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    url: WebhookUrl,
    #[serde(default)]
    description: Option<DisplayName>,
    #[serde(default)]
    event_types: Option<EventTypeFilter>,
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
    #[serde(default, deserialize_with = "deserialize_nullable")]
    description: Option<Option<DisplayName>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    event_types: Option<Option<EventTypeFilter>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    organization_id: Option<Option<OrganizationId>>,
    #[serde(default)]
    state: Option<WebhookStateBody>,
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
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewWebhook {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
    };
    let (body, replayed) = match webhooks::create(&services, &caller.identity, new, once).await? {
        CreateOutcome::New(made) => (WebhookBody::from(made), false),
        CreateOutcome::Existing(webhook) => (WebhookBody::from(webhook), true),
    };
    let location = format!("{}/v1/webhooks/{}", services.issuer(), body.id);
    Ok(created_response(body.version, location, replayed, &body))
}

/// Lists the webhooks, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<WebhookBody>))]
pub async fn list(
    _: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&webhooks::list(&services, query.page()?).await?.map(WebhookBody::from)))
}

/// Retrieves a webhook, without its secret.
#[utoipa::path(get, path = "", params(InPath<WebhookId>), responses(Object<WebhookBody>))]
pub async fn get(
    _: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let webhook = webhooks::get(&services, id(&request, "id")?).await?;
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
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = WebhookPatch {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
        enabled: body.state.map(|state| state == WebhookStateBody::Enabled),
    };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let webhook = webhooks::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(webhook.version, &WebhookBody::from(webhook)))
}

/// Deletes a webhook.
#[utoipa::path(delete, path = "", params(InPath<WebhookId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    webhooks::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
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
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let overlap = body.read().await?.overlap.unwrap_or(DEFAULT_SECRET_OVERLAP);
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let made = webhooks::rotate_secret(&services, &caller.identity, id, overlap, if_version).await?;
    Ok(object(made.webhook.version, &WebhookBody::from(made)))
}

/// Sends a signed test delivery at once and returns the result.
#[utoipa::path(post, path = "", params(InPath<WebhookId>), responses(Plain<TestDeliveryBody>))]
pub async fn test(
    _: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&TestDeliveryBody::from(deliveries::test(&services, id(&request, "id")?).await?)))
}

/// Lists the deliveries of a webhook, newest first.
#[utoipa::path(get, path = "", params(InPath<WebhookId>, Paging), responses(Listing<DeliveryBody>))]
pub async fn deliveries(
    _: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    let before = query.parse("after", "the event_seq of a delivery, as `next` gives it")?;
    let page = deliveries::list(&services, id(&request, "id")?, before, query.limit()?).await?;
    Ok(plain(&page.map(DeliveryBody::from)))
}

/// Sends a delivery again.
#[utoipa::path(post, path = "", params(InPath<WebhookId>, InPath<DeliveryId>), responses(Plain<DeliveryBody>))]
pub async fn retry(
    caller: Caller<ManageWebhooks>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (webhook, delivery) = (id(&request, "id")?, id(&request, "delivery")?);
    let delivery = deliveries::retry(&services, &caller.identity, webhook, delivery).await?;
    Ok(plain(&DeliveryBody::from(delivery)))
}
