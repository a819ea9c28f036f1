//! `/v1/service-clients`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{owner::OwnerScope, permission::PermissionSet, policy::ManageServiceClients},
        common::{
            id::{OrganizationId, ServiceClientId},
            json::{Metadata, deserialize_present},
            name::DisplayName,
            preconditions::Preconditions,
            time::Timestamp,
        },
        credentials::api_key::ApiKeyAttributes,
        directory::service_client::ServiceClient,
        events::ActorRef,
    },
    http::{
        access::access_records::AccessRecordBody,
        api_keys::{bodies::ApiKeyBody, owner::ServiceClientOwnerRequest},
        extract::{Caller, Idempotent, Json, Paging, Path, Query},
        problem::Problem,
        response::{Created, Deleted, Listing, Object, impl_resource},
    },
    service::{
        access::access_records::InitialAccessRecord,
        api_keys::{
            client_bundle::{self, CreatedClientBundle, NewClientBundle},
            service_clients::{self, NewServiceClient, ServiceClientPatch},
        },
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

impl_resource!(ServiceClientBody, "/v1/service-clients/{}", id; shown_once "access_record", "api_key");

impl From<ServiceClient> for ServiceClientBody {
    fn from(client: ServiceClient) -> Self {
        let (kind, id) = match &client.owner_scope {
            OwnerScope::Account => ("account", None),
            OwnerScope::Organization { id, .. } => ("organization", Some(id.to_string())),
            OwnerScope::User { id, .. } => ("user", Some(id.to_string())),
        };
        Self {
            id: client.id,
            name: client.name,
            owner: OwnerBody { kind, id, organization_id: client.owner_scope.organization().cloned() },
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
    fn from(CreatedClientBundle { client, record, key, value }: CreatedClientBundle) -> Self {
        let api_key = key.map(|key| ApiKeyBody::new(key, value.as_ref().map(|value| value.expose())));
        Self { access_record: record.map(AccessRecordBody::from), api_key, ..Self::from(client) }
    }
}

/// A service client to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceClient)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Optional if a user creates the service client or it is created on behalf of a user. It is
    /// then named after the user.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) name: Option<DisplayName>,
    /// Defaults to the account, or to the user or organization that calls.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) owner: Option<ServiceClientOwnerRequest>,
    #[serde(default)]
    pub(crate) permissions: PermissionSet,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    /// An access record for the service client. Either both are created or neither is.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    pub(crate) access_record: Option<InitialAccessRecord>,
    /// The first key of the service client. Either both are created or neither is.
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    api_key: Option<ApiKeyAttributes>,
}

/// Creates a service client.
///
/// The request may include an access record and a first API key. Either everything is created or
/// nothing is. The value of the key is returned only in this response.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageServiceClients>,
    Idempotent { body: Json(body), idempotency }: Idempotent<Json<CreateBody>>,
) -> Result<Created<ServiceClientBody>, Problem> {
    let new = NewServiceClient {
        name: body.name,
        owner: body.owner.map(ServiceClientOwnerRequest::into_owner),
        permissions: body.permissions,
        metadata: body.metadata,
    };
    let bundle = NewClientBundle { record: body.access_record, key: body.api_key };
    Ok(client_bundle::create(&caller.services, &caller, new, bundle, idempotency).await?.into())
}

/// Lists the service clients, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageServiceClients>,
    Query(page): Query<Paging>,
) -> Result<Listing<ServiceClientBody>, Problem> {
    Ok(service_clients::list(&caller.services, &caller, page.into()).await?.into())
}

/// Retrieves a service client.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageServiceClients>,
    Path(id): Path<ServiceClientId>,
) -> Result<Object<ServiceClientBody>, Problem> {
    Ok(Object(service_clients::get(&caller.services, &caller, id).await?.into()))
}

/// Updates a service client.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageServiceClients>,
    Json(patch): Json<ServiceClientPatch>,
    Path(id): Path<ServiceClientId>,
    preconditions: Preconditions,
) -> Result<Object<ServiceClientBody>, Problem> {
    Ok(Object(service_clients::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Deletes a service client.
///
/// Its keys stop working at once.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageServiceClients>,
    Path(id): Path<ServiceClientId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    service_clients::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}
