//! `/v1/organizations/{id}/members`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{policy::ManageDirectory, role::RoleSet},
        common::{
            id::{OrganizationId, UserId},
            json::Metadata,
        },
        directory::Member,
    },
    http::{
        extract::{Caller, IfMatch, Json, Paging, Path, PathPair, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::directory::members::{self, MemberPatch, MemberPut},
};

impl_resource!(Member, "/v1/organizations/{}/members/{}", organization, user);

/// A complete membership. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MemberPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    roles: RoleSet,
    #[serde(default)]
    metadata: Metadata,
}

/// Creates or replaces a member of an organization.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { roles, metadata }): Json<PutBody>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    IfMatch(version): IfMatch,
) -> Result<Stored<Member>, Problem> {
    let put = MemberPut { organization, user, roles, metadata };
    Ok(members::put(&caller.services, &caller, put, version).await?.into())
}

/// Lists the members of an organization, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageDirectory>,
    Path(organization): Path<OrganizationId>,
    Query(page): Query<Paging>,
) -> Result<Listing<Member>, Problem> {
    Ok(members::list(&caller.services, organization, page.into()).await?.into())
}

/// Retrieves a member of an organization.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageDirectory>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
) -> Result<Object<Member>, Problem> {
    Ok(Object(members::get(&caller.services, organization, user).await?))
}

/// Updates a member of an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    Json(patch): Json<MemberPatch>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    IfMatch(version): IfMatch,
) -> Result<Object<Member>, Problem> {
    Ok(Object(members::patch(&caller.services, &caller, (organization, user), patch, version).await?))
}

/// Removes a member from an organization.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    IfMatch(version): IfMatch,
) -> Result<Deleted, Problem> {
    members::delete(&caller.services, &caller, organization, user, version).await?;
    Ok(Deleted)
}
