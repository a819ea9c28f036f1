//! `/v1/webhooks`.

use actix_web::web::Data;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

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
            if_match::IfMatch,
            json::{IdempotentJson, Json, OptionalJson, deserialize_nullable},
            path::{Path, PathPair},
            query::{Limit, Paging, Query},
        },
        problem::Problem,
        response::{Created, Deleted, Listing, Object, Plain},
        webhook_bodies::{DeliveryBody, TestDeliveryBody, WebhookBody, WebhookStateBody},
    },
    service::{
        Services,
        webhooks::{self, DEFAULT_SECRET_OVERLAP, NewWebhook, WebhookPatch, deliveries},
    },
};

/// A webhook to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    url: WebhookUrl,
    description: Option<DisplayName>,
    event_types: Option<EventTypeFilter>,
    organization_id: Option<OrganizationId>,
}

/// Changes to a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    url: Option<WebhookUrl>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    description: Option<Option<DisplayName>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    event_types: Option<Option<EventTypeFilter>>,
    #[serde(default, deserialize_with = "deserialize_nullable")]
    organization_id: Option<Option<OrganizationId>>,
    state: Option<WebhookStateBody>,
}

/// Parameters of a secret rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WebhookSecretRotation)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// How long deliveries are also signed with the old secret. Defaults to 24h.
    overlap: Option<Span>,
}

/// Creates a webhook.
///
/// Its secret is returned only in this response.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageWebhooks>,
    IdempotentJson { body, idempotency }: IdempotentJson<CreateBody>,
    services: Data<Services>,
) -> Result<Created<WebhookBody>, Problem> {
    let new = NewWebhook {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
    };
    Ok(webhooks::create(&services, &caller, new, idempotency).await?.into())
}

/// Lists the webhooks, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    _: Caller<ManageWebhooks>,
    Query(page): Query<Paging>,
    services: Data<Services>,
) -> Result<Listing<WebhookBody>, Problem> {
    Ok(webhooks::list(&services, page.into()).await?.into())
}

/// Retrieves a webhook, without its secret.
#[utoipa::path(get, path = "")]
pub async fn get(
    _: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    services: Data<Services>,
) -> Result<Object<WebhookBody>, Problem> {
    Ok(Object(webhooks::get(&services, id).await?.into()))
}

/// Updates a webhook.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageWebhooks>,
    Json(body): Json<PatchBody>,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<WebhookBody>, Problem> {
    let patch = WebhookPatch {
        url: body.url,
        description: body.description,
        event_types: body.event_types,
        organization: body.organization_id,
        enabled: body.state.map(|state| state == WebhookStateBody::Enabled),
    };
    Ok(Object(webhooks::patch(&services, &caller, id, patch, version).await?.into()))
}

/// Deletes a webhook.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Deleted, Problem> {
    webhooks::delete(&services, &caller, id, version).await?;
    Ok(Deleted)
}

/// Rotates the secret of a webhook.
///
/// The response contains the new secret. The old one also signs deliveries until the overlap ends.
#[utoipa::path(post, path = "")]
pub async fn rotate_secret(
    caller: Caller<ManageWebhooks>,
    OptionalJson(body): OptionalJson<RotateBody>,
    Path(id): Path<WebhookId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<WebhookBody>, Problem> {
    let overlap = body.overlap.unwrap_or(DEFAULT_SECRET_OVERLAP);
    Ok(Object(webhooks::rotate_secret(&services, &caller, id, overlap, version).await?.into()))
}

/// Sends a signed test delivery at once and returns the result.
#[utoipa::path(post, path = "")]
pub async fn test(
    _: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    services: Data<Services>,
) -> Result<Plain<TestDeliveryBody>, Problem> {
    Ok(Plain(deliveries::test(&services, id).await?.into()))
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
    _: Caller<ManageWebhooks>,
    Path(id): Path<WebhookId>,
    Query(DeliveryPaging { limit, after }): Query<DeliveryPaging>,
    services: Data<Services>,
) -> Result<Listing<DeliveryBody>, Problem> {
    Ok(deliveries::list(&services, id, after, limit.0).await?.into())
}

/// Sends a delivery again.
#[utoipa::path(post, path = "")]
pub async fn retry(
    caller: Caller<ManageWebhooks>,
    PathPair(webhook, delivery): PathPair<WebhookId, DeliveryId>,
    services: Data<Services>,
) -> Result<Plain<DeliveryBody>, Problem> {
    Ok(Plain(deliveries::retry(&services, &caller, webhook, delivery).await?.into()))
}
