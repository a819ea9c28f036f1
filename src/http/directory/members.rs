//! `/v1/organizations/{id}/members`.

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{policy::ManageDirectory, role::RoleSet},
        common::{
            id::{OrganizationId, UserId},
            json::Metadata,
            time::Timestamp,
        },
        directory::Member,
    },
    http::{
        extract::{
            access::Caller,
            if_match::IfMatch,
            json::Json,
            path::{Path, PathPair},
            query::{Paging, Query},
        },
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::{
        Services,
        directory::members::{self, MemberPatch, MemberPut},
    },
};

/// A member of an organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub struct MemberBody {
    organization_id: OrganizationId,
    user_id: UserId,
    roles: RoleSet,
    metadata: Metadata,
    created_at: Timestamp,
    version: i64,
}

impl_resource!(MemberBody, "/v1/organizations/{}/members/{}", organization_id, user_id);

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            organization_id: member.organization,
            user_id: member.user,
            roles: member.roles,
            metadata: member.metadata,
            created_at: member.created_at,
            version: member.version,
        }
    }
}

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

/// Changes to a membership.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MemberPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    roles: Option<RoleSet>,
    pub(crate) metadata: Option<Metadata>,
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
    services: Data<Services>,
) -> Result<Stored<MemberBody>, Problem> {
    let put = MemberPut { organization, user, roles, metadata };
    Ok(members::put(&services, &caller, put, version).await?.into())
}

/// Lists the members of an organization, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    _: Caller<ManageDirectory>,
    Path(organization): Path<OrganizationId>,
    Query(page): Query<Paging>,
    services: Data<Services>,
) -> Result<Listing<MemberBody>, Problem> {
    Ok(members::list(&services, organization, page.into()).await?.into())
}

/// Retrieves a member of an organization.
#[utoipa::path(get, path = "")]
pub async fn get(
    _: Caller<ManageDirectory>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    services: Data<Services>,
) -> Result<Object<MemberBody>, Problem> {
    Ok(Object(members::get(&services, organization, user).await?.into()))
}

/// Updates a member of an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    Json(PatchBody { roles, metadata }): Json<PatchBody>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<MemberBody>, Problem> {
    let patch = MemberPatch { roles, metadata };
    Ok(Object(members::patch(&services, &caller, (organization, user), patch, version).await?.into()))
}

/// Removes a member from an organization.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    PathPair(organization, user): PathPair<OrganizationId, UserId>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Deleted, Problem> {
    members::delete(&services, &caller, organization, user, version).await?;
    Ok(Deleted)
}
