//! `/v1/roles`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            permission::PermissionSet,
            policy::{ManageRoles, ReadRoles},
            role::{Role, RoleName},
        },
        common::{name::Description, preconditions::Preconditions},
    },
    http::{
        extract::{Caller, Json, NewPath, Paging, Path, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::access::roles::{self, RoleInput},
};

impl_resource!(Role, "/v1/roles/{}", name);

/// A complete role. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RolePut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    description: Option<Description>,
    permissions: PermissionSet,
}

/// Creates or replaces a role.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageRoles>,
    Json(PutBody { description, permissions }): Json<PutBody>,
    NewPath(name): NewPath<RoleName>,
    preconditions: Preconditions,
) -> Result<Stored<Role>, Problem> {
    Ok(roles::put(&caller.services, &caller, RoleInput { name, description, permissions }, preconditions).await?.into())
}

/// Lists the roles, ordered by name.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller<ReadRoles>, Query(page): Query<Paging>) -> Result<Listing<Role>, Problem> {
    Ok(roles::list(&caller.services, page.into()).await?.into())
}

/// Retrieves a role.
#[utoipa::path(get, path = "")]
pub async fn get(caller: Caller<ReadRoles>, Path(name): Path<RoleName>) -> Result<Object<Role>, Problem> {
    Ok(Object(roles::get(&caller.services, name).await?))
}

/// Deletes a role.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageRoles>,
    Path(name): Path<RoleName>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    roles::delete(&caller.services, &caller, name, preconditions).await?;
    Ok(Deleted)
}
