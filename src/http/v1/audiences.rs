//! `/v1/audiences`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        audience::{Audience, BuiltIn, Identifier, Takes},
        id::AudienceId,
        permission::PermissionSet,
        policy::ManageAudiences,
        time::{Span, Timestamp},
    },
    http::{access::Caller, problem::Problem},
    service::{
        App,
        audiences::{self, NewAudience, PatchAudience},
        idempotency::Created,
    },
};

use super::{
    created,
    json::{Body, Json, nullable},
    object,
    params::{Query, id, if_match},
    plain,
};

#[derive(Debug, Serialize)]
struct AudienceBody {
    id: AudienceId,
    identifier: Identifier,
    /// Absent: every permission of the product, or, for the management audience, those that govern Keyswap.
    permissions: Option<PermissionSet>,
    token_ttl: Option<Span>,
    built_in: Option<BuiltIn>,
    created_at: Timestamp,
    version: i64,
}

impl From<Audience> for AudienceBody {
    fn from(audience: Audience) -> Self {
        Self {
            id: audience.id,
            identifier: audience.identifier,
            permissions: match audience.takes {
                Takes::Product | Takes::Management => None,
                Takes::Listed(permissions) => Some(permissions),
            },
            token_ttl: audience.token_ttl,
            built_in: audience.built_in,
            created_at: audience.created_at,
            version: audience.version,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    identifier: Identifier,
    #[serde(default)]
    permissions: Option<PermissionSet>,
    #[serde(default)]
    token_ttl: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    #[serde(default, deserialize_with = "nullable")]
    permissions: Option<Option<PermissionSet>>,
    #[serde(default, deserialize_with = "nullable")]
    token_ttl: Option<Option<Span>>,
}

pub async fn create(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    body: Json<CreateBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewAudience { identifier: body.identifier, permissions: body.permissions, token_ttl: body.token_ttl };
    let (audience, replayed) = match audiences::create(&app, &caller.identity, new, once).await? {
        Created::New(audience) => (audience, false),
        Created::Replayed(audience) => (audience, true),
    };
    let location = format!("{}/v1/audiences/{}", app.issuer(), audience.id);
    Ok(created(audience.version, location, replayed, &AudienceBody::from(audience)))
}

pub async fn list(_: Caller<ManageAudiences>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&audiences::list(&app, query.page()?).await?.map(AudienceBody::from)))
}

pub async fn get(_: Caller<ManageAudiences>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let audience = audiences::get(&app, id(&request, "id")?).await?;
    Ok(object(audience.version, &AudienceBody::from(audience)))
}

pub async fn patch(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    body: Json<PatchBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = PatchAudience { permissions: body.permissions, token_ttl: body.token_ttl };
    let (id, if_version) = (id(&request, "id")?, if_match(&request)?);
    let audience = audiences::patch(&app, &caller.identity, id, patch, if_version).await?;
    Ok(object(audience.version, &AudienceBody::from(audience)))
}

pub async fn delete(
    caller: Caller<ManageAudiences>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    audiences::delete(&app, &caller.identity, id(&request, "id")?, if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
