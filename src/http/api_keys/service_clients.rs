//! `/v1/service-clients`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{audience::Identifier, owner::OwnerScope, permission::PermissionSet, policy::ManageServiceClients},
        common::{
            id::{OrganizationId, ServiceClientId},
            json::Metadata,
            name::DisplayName,
            time::{Span, Timestamp},
        },
        directory::service_client::ServiceClient,
        events::ActorRef,
    },
    http::{
        access::access_records::{AccessRecordBody, InitialAccessRecordBody},
        api_keys::{bodies::ApiKeyBody, owner::ServiceClientOwnerRequest},
        extract::{
            access::Caller,
            json::{Body, Json},
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Made, Object},
            params::{IfMatch, InPath, Once, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
    },
    service::{
        Services,
        api_keys::{
            client_bundle::{self, CreatedClientBundle, NewClientBundle},
            service_clients::{self, NewServiceClient, ServiceClientPatch},
            types::NewApiKey,
        },
        common::idempotency::CreateOutcome,
    },
};

/// A service client: a non-human identity with its own permissions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceClient)]
pub struct ServiceClientBody {
    id: ServiceClientId,
    name: DisplayName,
    owner: OwnerBody,
    permissions: PermissionSet,
    metadata: Metadata,
    created_at: Timestamp,
    created_by: ActorRef,
    version: i64,
    /// Present only in the response to create, if the record was created with the service client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    access_record: Option<AccessRecordBody>,
    /// Present only in the response to create, if the key was created with the service client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    api_key: Option<ApiKeyBody>,
}

/// The owner of a service client.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceClientOwner)]
struct OwnerBody {
    #[serde(rename = "type")]
    #[schema(pattern = "^(user|organization|account)$", example = "account")]
    kind: &'static str,
    id: Option<String>,
    organization_id: Option<OrganizationId>,
}

impl From<ServiceClient> for ServiceClientBody {
    fn from(client: ServiceClient) -> Self {
        let (kind, id) = match &client.home {
            OwnerScope::Account => ("account", None),
            OwnerScope::Organization { id, .. } => ("organization", Some(id.to_string())),
            OwnerScope::User { id, .. } => ("user", Some(id.to_string())),
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
            access_record: None,
            api_key: None,
        }
    }
}

impl From<CreatedClientBundle> for ServiceClientBody {
    fn from(made: CreatedClientBundle) -> Self {
        let value = made.value;
        Self {
            access_record: made.record.map(AccessRecordBody::from),
            api_key: made.key.map(|key| ApiKeyBody::new(key, value.as_ref().map(|value| value.expose()))),
            ..made.client.into()
        }
    }
}

/// A service client to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceClient)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Optional if a user creates the service client or it is created on behalf of a user. It is
    /// then named after the user.
    #[serde(default)]
    pub(crate) name: Option<DisplayName>,
    /// Defaults to the account, or to the user or organization that calls.
    #[serde(default)]
    pub(crate) owner: Option<ServiceClientOwnerRequest>,
    #[serde(default)]
    pub(crate) permissions: PermissionSet,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    /// An access record for the service client. Either both are created or neither is.
    #[serde(default)]
    pub(crate) access_record: Option<InitialAccessRecordBody>,
    /// The first key of the service client. Either both are created or neither is.
    #[serde(default)]
    api_key: Option<InitialKeyBody>,
}

/// The first API key of a new service client.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FirstApiKey)]
#[serde(deny_unknown_fields)]
struct InitialKeyBody {
    name: DisplayName,
    #[serde(default)]
    permissions: PermissionSet,
    #[serde(default)]
    audiences: Option<Vec<Identifier>>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    max_token_ttl: Option<Span>,
    #[serde(default)]
    exchanges_per_minute: Option<u32>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

impl InitialKeyBody {
    fn into_new_key(self) -> NewApiKey {
        NewApiKey {
            name: self.name,
            owner: None,
            permissions: self.permissions,
            audiences: self.audiences,
            metadata: self.metadata,
            max_token_ttl: self.max_token_ttl,
            exchanges_per_minute: self.exchanges_per_minute,
            expires_at: self.expires_at,
        }
    }
}

/// Changes to a service client.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ServiceClientPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    pub(crate) name: Option<DisplayName>,
    pub(crate) permissions: Option<PermissionSet>,
    pub(crate) metadata: Option<Metadata>,
}

/// Creates a service client.
///
/// The request may include an access record and a first API key. Either everything is created or
/// nothing is. The value of the key is returned only in this response.
#[utoipa::path(post, path = "", params(Once), responses(Made<ServiceClientBody>))]
pub async fn create(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    body: Json<CreateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewServiceClient {
        name: body.name,
        owner: body.owner.map(ServiceClientOwnerRequest::asked),
        permissions: body.permissions,
        metadata: body.metadata,
    };
    let outfit = NewClientBundle {
        record: body.access_record.map(InitialAccessRecordBody::asked),
        key: body.api_key.map(InitialKeyBody::into_new_key),
    };
    let (made, replayed) = match client_bundle::create(&services, &caller.identity, new, outfit, once).await? {
        CreateOutcome::New(made) => (made, false),
        CreateOutcome::Existing(made) => (made, true),
    };
    let location = format!("{}/v1/service-clients/{}", services.issuer(), made.client.id);
    Ok(created_response(made.client.version, location, replayed, &ServiceClientBody::from(made)))
}

/// Lists the service clients, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<ServiceClientBody>))]
pub async fn list(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&service_clients::list(&services, &caller.identity, query.page()?).await?.map(ServiceClientBody::from)))
}

/// Retrieves a service client.
#[utoipa::path(get, path = "", params(InPath<ServiceClientId>), responses(Object<ServiceClientBody>))]
pub async fn get(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let client = service_clients::get(&services, &caller.identity, id(&request, "id")?).await?;
    Ok(object(client.version, &ServiceClientBody::from(client)))
}

/// Updates a service client.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<ServiceClientId>, IfMatch), responses(Object<ServiceClientBody>))]
pub async fn patch(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = ServiceClientPatch { name: body.name, permissions: body.permissions, metadata: body.metadata };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let client = service_clients::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(client.version, &ServiceClientBody::from(client)))
}

/// Deletes a service client.
///
/// Its keys stop working at once.
#[utoipa::path(delete, path = "", params(InPath<ServiceClientId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageServiceClients>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    service_clients::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
