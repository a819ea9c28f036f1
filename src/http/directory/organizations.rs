//! `/v1/organizations`.

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageDirectory,
        common::{
            id::OrganizationId,
            json::{Metadata, deserialize_nullable},
            name::DisplayName,
            time::Timestamp,
        },
        directory::Organization,
    },
    http::{
        extract::{
            access::Caller,
            if_match::IfMatch,
            json::Json,
            path::{NewPath, Path},
            query::{Paging, Query},
        },
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::{
        Services,
        directory::organizations::{self, OrganizationPatch, OrganizationPut},
    },
};

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationBody {
    id: OrganizationId,
    name: Option<DisplayName>,
    metadata: Metadata,
    created_at: Timestamp,
    version: i64,
}

impl_resource!(OrganizationBody, "/v1/organizations/{}", id);

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            metadata: organization.metadata,
            created_at: organization.created_at,
            version: organization.version,
        }
    }
}

/// A complete organization. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    name: Option<DisplayName>,
    #[serde(default)]
    metadata: Metadata,
}

/// Changes to an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub(crate) name: Option<Option<DisplayName>>,
    pub(crate) metadata: Option<Metadata>,
}

/// Creates or replaces an organization.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { name, metadata }): Json<PutBody>,
    NewPath(id): NewPath<OrganizationId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Stored<OrganizationBody>, Problem> {
    let put = OrganizationPut { id, name, metadata };
    Ok(organizations::put(&services, &caller, put, version).await?.into())
}

/// Lists the organizations, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    _: Caller<ManageDirectory>,
    Query(page): Query<Paging>,
    services: Data<Services>,
) -> Result<Listing<OrganizationBody>, Problem> {
    Ok(organizations::list(&services, page.into()).await?.into())
}

/// Retrieves an organization.
#[utoipa::path(get, path = "")]
pub async fn get(
    _: Caller<ManageDirectory>,
    Path(id): Path<OrganizationId>,
    services: Data<Services>,
) -> Result<Object<OrganizationBody>, Problem> {
    Ok(Object(organizations::get(&services, id).await?.into()))
}

/// Updates an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    Json(PatchBody { name, metadata }): Json<PatchBody>,
    Path(id): Path<OrganizationId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<OrganizationBody>, Problem> {
    let patch = OrganizationPatch { name, metadata };
    Ok(Object(organizations::patch(&services, &caller, id, patch, version).await?.into()))
}

/// Deletes an organization.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    Path(id): Path<OrganizationId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Deleted, Problem> {
    organizations::delete(&services, &caller, id, version).await?;
    Ok(Deleted)
}
