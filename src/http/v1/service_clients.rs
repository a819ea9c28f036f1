//! `/v1/service-clients`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;

use crate::{
    domain::{json::Metadata, name::DisplayName, permission::PermissionSet, policy::ManageServiceClients},
    http::{access::Caller, problem::Problem},
    service::{
        App,
        idempotency::Created,
        service_clients::{self, NewServiceClient, PatchServiceClient},
    },
};

use super::{
    created,
    json::{Body, Json},
    object,
    params::{Query, id, if_match},
    plain,
};

/// Service clients of users and organizations come with the directory. The braces matter: without them serde would pass over
/// unknown members.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum OwnerRequest {
    Account {},
}

impl Default for OwnerRequest {
    fn default() -> Self {
        Self::Account {}
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    name: DisplayName,
    #[serde(default)]
    owner: OwnerRequest,
    #[serde(default)]
    permissions: PermissionSet,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    name: Option<DisplayName>,
    permissions: Option<PermissionSet>,
    metadata: Option<Metadata>,
}

pub async fn create(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    body: Json<CreateBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let OwnerRequest::Account {} = body.owner;
    let new = NewServiceClient { name: body.name, permissions: body.permissions, metadata: body.metadata };
    let (client, replayed) = match service_clients::create(&app, &caller.identity, new, once).await? {
        Created::New(client) => (client, false),
        Created::Replayed(client) => (client, true),
    };
    let location = format!("{}/v1/service-clients/{}", app.issuer(), client.id);
    Ok(created(client.version, location, replayed, &client))
}

pub async fn list(
    _: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&service_clients::list(&app, query.page()?).await?))
}

pub async fn get(
    _: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let client = service_clients::get(&app, id(&request, "id")?).await?;
    Ok(object(client.version, &client))
}

pub async fn patch(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    body: Json<PatchBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = PatchServiceClient { name: body.name, permissions: body.permissions, metadata: body.metadata };
    let (id, if_version) = (id(&request, "id")?, if_match(&request)?);
    let client = service_clients::patch(&app, &caller.identity, id, patch, if_version).await?;
    Ok(object(client.version, &client))
}

pub async fn delete(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    service_clients::delete(&app, &caller.identity, id(&request, "id")?, if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
