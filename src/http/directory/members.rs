//! `/v1/organizations/{id}/members`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
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
            json::Json,
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Object, Stored},
            params::{IfMatch, InPath, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
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
#[utoipa::path(put, path = "", params(InPath<OrganizationId>, InPath<UserId>, IfMatch), responses(Stored<MemberBody>))]
pub async fn put(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PutBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = MemberPut {
        organization: id(&request, "id")?,
        user: id(&request, "user")?,
        roles: body.roles,
        metadata: body.metadata,
    };
    let (member, is_new) = members::put(&services, &caller.identity, put, parse_if_match(&request)?).await?;
    let location = format!("{}/v1/organizations/{}/members/{}", services.issuer(), member.organization, member.user);
    let (version, body) = (member.version, MemberBody::from(member));
    Ok(if is_new { created_response(version, location, false, &body) } else { object(version, &body) })
}

/// Lists the members of an organization, newest first.
#[utoipa::path(get, path = "", params(InPath<OrganizationId>, Paging), responses(Listing<MemberBody>))]
pub async fn list(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&members::list(&services, id(&request, "id")?, query.page()?).await?.map(MemberBody::from)))
}

/// Retrieves a member of an organization.
#[utoipa::path(get, path = "", params(InPath<OrganizationId>, InPath<UserId>), responses(Object<MemberBody>))]
pub async fn get(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let member = members::get(&services, id(&request, "id")?, id(&request, "user")?).await?;
    Ok(object(member.version, &MemberBody::from(member)))
}

/// Updates a member of an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<OrganizationId>, InPath<UserId>, IfMatch), responses(Object<MemberBody>))]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = MemberPatch { roles: body.roles, metadata: body.metadata };
    let (organization, user, if_version) = (id(&request, "id")?, id(&request, "user")?, parse_if_match(&request)?);
    let member = members::patch(&services, &caller.identity, organization, user, patch, if_version).await?;
    Ok(object(member.version, &MemberBody::from(member)))
}

/// Removes a member from an organization.
#[utoipa::path(delete, path = "", params(InPath<OrganizationId>, InPath<UserId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (organization, user, if_version) = (id(&request, "id")?, id(&request, "user")?, parse_if_match(&request)?);
    members::delete(&services, &caller.identity, organization, user, if_version).await?;
    Ok(HttpResponse::NoContent().finish())
}
