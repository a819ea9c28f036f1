//! `/v1/permissions`.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{
        access::{
            permission::{AssignableOwnerType, Permission, PermissionName},
            policy::{ManagePermissions, ReadPermissions},
        },
        common::{name::Description, preconditions::Preconditions},
    },
    http::{
        extract::{Caller, Json, NewPath, Paging, Path, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::access::permissions::{self, PermissionInput},
};

impl_resource!(Permission, "/v1/permissions/{}", name);

/// A permission to create or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PermissionPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    description: Option<Description>,
    #[schema(value_type = Vec<AssignableOwnerType>)]
    assignable_to: BTreeSet<AssignableOwnerType>,
}

/// Creates or replaces a permission in the catalog.
///
/// Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManagePermissions>,
    Json(PutBody { description, assignable_to }): Json<PutBody>,
    NewPath(name): NewPath<PermissionName>,
    preconditions: Preconditions,
) -> Result<Stored<Permission>, Problem> {
    let put = PermissionInput { name, description, assignable_to };
    Ok(permissions::put(&caller.services, &caller, put, preconditions).await?.into())
}

/// Filters of the list of permissions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PermissionQuery {
    /// Only permissions that can be assigned to this type of owner.
    assignable_to: Option<AssignableOwnerType>,
}

/// Lists the permissions in the catalog.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ReadPermissions>,
    Query(page): Query<Paging>,
    Query(query): Query<PermissionQuery>,
) -> Result<Listing<Permission>, Problem> {
    Ok(permissions::list(&caller.services, query.assignable_to, page.into()).await?.into())
}

/// Retrieves a permission in the catalog.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ReadPermissions>,
    Path(name): Path<PermissionName>,
) -> Result<Object<Permission>, Problem> {
    Ok(Object(permissions::get(&caller.services, name).await?))
}

/// Deletes a permission from the catalog.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManagePermissions>,
    Path(name): Path<PermissionName>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    permissions::delete(&caller.services, &caller, name, preconditions).await?;
    Ok(Deleted)
}
