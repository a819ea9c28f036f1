//! `/v1/service-clients`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        event::ActorRef,
        id::{OrganizationId, ServiceClientId},
        json::Metadata,
        name::DisplayName,
        permission::PermissionSet,
        policy::ManageServiceClients,
        service_client::ServiceClient,
        standing::Home,
        time::Timestamp,
    },
    http::{
        access::Caller,
        openapi::{
            answers::{Gone, Listing, Made, Object},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
    },
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
    owner::ClientOwnerRequest,
    params::{Query, id, if_match},
    plain,
};

/// A service client: a non-human identity with permissions of its own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceClient)]
pub struct ClientBody {
    id: ServiceClientId,
    name: DisplayName,
    owner: OwnerBody,
    permissions: PermissionSet,
    metadata: Metadata,
    created_at: Timestamp,
    created_by: ActorRef,
    version: i64,
}

/// Who a service client belongs to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceClientOwner)]
struct OwnerBody {
    #[serde(rename = "type")]
    #[schema(pattern = "^(user|organization|account)$", example = "account")]
    kind: &'static str,
    id: Option<String>,
    organization_id: Option<OrganizationId>,
}

impl From<ServiceClient> for ClientBody {
    fn from(client: ServiceClient) -> Self {
        let (kind, id) = match &client.home {
            Home::Account => ("account", None),
            Home::Organization { id, .. } => ("organization", Some(id.to_string())),
            Home::User { id, .. } => ("user", Some(id.to_string())),
        };
        Self {
            id: client.id,
            name: client.name,
            owner: OwnerBody { kind, id, organization_id: client.home.organization().cloned() },
            permissions: client.permissions,
            metadata: client.metadata,
            created_at: client.created_at,
            created_by: client.created_by,
            version: client.version,
        }
    }
}

/// A service client to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceClient)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// May be left out by and for a user: it is named after them.
    #[serde(default)]
    name: Option<DisplayName>,
    /// Absent: the account, or the user or organization that calls.
    #[serde(default)]
    owner: Option<ClientOwnerRequest>,
    #[serde(default)]
    permissions: PermissionSet,
    #[serde(default)]
    metadata: Metadata,
}

/// A change of a service client.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ServiceClientPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    name: Option<DisplayName>,
    permissions: Option<PermissionSet>,
    metadata: Option<Metadata>,
}

/// Makes a service client.
#[utoipa::path(post, path = "", params(Once), responses(Made<ClientBody>))]
pub async fn create(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    body: Json<CreateBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewServiceClient {
        name: body.name,
        owner: body.owner.map(ClientOwnerRequest::asked),
        permissions: body.permissions,
        metadata: body.metadata,
    };
    let (client, replayed) = match service_clients::create(&app, &caller.identity, new, once).await? {
        Created::New(client) => (client, false),
        Created::Replayed(client) => (client, true),
    };
    let location = format!("{}/v1/service-clients/{}", app.issuer(), client.id);
    Ok(created(client.version, location, replayed, &ClientBody::from(client)))
}

/// The service clients, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<ClientBody>))]
pub async fn list(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&service_clients::list(&app, &caller.identity, query.page()?).await?.map(ClientBody::from)))
}

/// A service client.
#[utoipa::path(get, path = "", params(InPath<ServiceClientId>), responses(Object<ClientBody>))]
pub async fn get(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let client = service_clients::get(&app, &caller.identity, id(&request, "id")?).await?;
    Ok(object(client.version, &ClientBody::from(client)))
}

/// Changes a service client. Members that are left out stay as they are.
#[utoipa::path(patch, path = "", params(InPath<ServiceClientId>, IfMatch), responses(Object<ClientBody>))]
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
    Ok(object(client.version, &ClientBody::from(client)))
}

/// Deletes a service client. Its keys stop at once.
#[utoipa::path(delete, path = "", params(InPath<ServiceClientId>, IfMatch), responses(Gone))]
pub async fn delete(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    service_clients::delete(&app, &caller.identity, id(&request, "id")?, if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
