//! `/v1/organizations/{id}/members`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{policy::ManageDirectory, role::RoleSet},
        common::{
            id::{OrganizationId, UserId},
            json::{Metadata, deserialize_present},
            preconditions::Preconditions,
        },
        directory::Member,
    },
    http::{
        extract::{Caller, Json, Paging, Path, PathPair, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::directory::members::{self, MemberPatch, MemberPut},
};

impl_resource!(Member, "/v1/organizations/{}/members/{}", organization, user);

/// A membership. Omitted metadata is set to empty. `roles` keep their value if they are omitted; a
/// new member has no roles.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MemberPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    roles: Option<RoleSet>,
    #[serde(default)]
    metadata: Metadata,
}

/// Creates or replaces a member of an organization.
///
/// Omitted metadata is set to empty. Omitted roles keep their value. Repeating a request changes
/// nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { roles, metadata }): Json<PutBody>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    preconditions: Preconditions,
) -> Result<Stored<Member>, Problem> {
    let put = MemberPut { organization, user, roles, metadata };
    Ok(members::put(&caller.services, &caller, put, preconditions).await?.into())
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
    preconditions: Preconditions,
) -> Result<Object<Member>, Problem> {
    Ok(Object(members::patch(&caller.services, &caller, (organization, user), patch, preconditions).await?))
}

/// Removes a member from an organization.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    members::delete(&caller.services, &caller, organization, user, preconditions).await?;
    Ok(Deleted)
}
