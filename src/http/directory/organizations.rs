//! `/v1/organizations`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageDirectory,
        common::{id::OrganizationId, json::Metadata, name::DisplayName, preconditions::Preconditions},
        directory::Organization,
    },
    http::{
        extract::{Caller, Json, NewPath, Paging, Path, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::directory::organizations::{self, OrganizationPatch, OrganizationPut},
};

impl_resource!(Organization, "/v1/organizations/{}", id);

/// A complete organization. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    name: Option<DisplayName>,
    #[serde(default)]
    metadata: Metadata,
}

/// Creates or replaces an organization.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { name, metadata }): Json<PutBody>,
    NewPath(id): NewPath<OrganizationId>,
    preconditions: Preconditions,
) -> Result<Stored<Organization>, Problem> {
    let put = OrganizationPut { id, name, metadata };
    Ok(organizations::put(&caller.services, &caller, put, preconditions).await?.into())
}

/// Lists the organizations, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageDirectory>,
    Query(page): Query<Paging>,
) -> Result<Listing<Organization>, Problem> {
    Ok(organizations::list(&caller.services, page.into()).await?.into())
}

/// Retrieves an organization.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageDirectory>,
    Path(id): Path<OrganizationId>,
) -> Result<Object<Organization>, Problem> {
    Ok(Object(organizations::get(&caller.services, id).await?))
}

/// Updates an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    Json(patch): Json<OrganizationPatch>,
    Path(id): Path<OrganizationId>,
    preconditions: Preconditions,
) -> Result<Object<Organization>, Problem> {
    Ok(Object(organizations::patch(&caller.services, &caller, id, patch, preconditions).await?))
}

/// Deletes an organization.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    Path(id): Path<OrganizationId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    organizations::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}
