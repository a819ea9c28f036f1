//! `/v1/users`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{policy::ManageDirectory, role::RoleSet},
        common::{id::UserId, json::Metadata, time::Timestamp},
        directory::User,
    },
    http::{
        extract::{
            access::Caller,
            json::Json,
            query::{Query, id, parse_if_match, parse_new_path_id},
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
        directory::users::{self, UserPatch, UserPut},
    },
};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserBody {
    id: UserId,
    blocked: bool,
    profile: Metadata,
    metadata: Metadata,
    /// Roles outside any organization.
    roles: RoleSet,
    created_at: Timestamp,
    version: i64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            blocked: user.blocked_at.is_some(),
            profile: user.profile,
            metadata: user.metadata,
            roles: user.roles,
            created_at: user.created_at,
            version: user.version,
        }
    }
}

/// A complete user. Omitted fields are set to empty, and `blocked` to `false`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UserPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    profile: Metadata,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    roles: RoleSet,
}

/// Changes to a user.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UserPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    blocked: Option<bool>,
    profile: Option<Metadata>,
    pub(crate) metadata: Option<Metadata>,
    roles: Option<RoleSet>,
}

/// Creates or replaces a user.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "", params(InPath<UserId>, IfMatch), responses(Stored<UserBody>))]
pub async fn put(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PutBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = UserPut {
        id: parse_new_path_id(&request, "id")?,
        blocked: body.blocked,
        profile: body.profile,
        metadata: body.metadata,
        roles: body.roles,
    };
    let (user, is_new) = users::put(&services, &caller.identity, put, parse_if_match(&request)?).await?;
    let location = format!("{}/v1/users/{}", services.issuer(), user.id);
    let (version, body) = (user.version, UserBody::from(user));
    Ok(if is_new { created_response(version, location, false, &body) } else { object(version, &body) })
}

/// Lists the users, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<UserBody>))]
pub async fn list(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&users::list(&services, query.page()?).await?.map(UserBody::from)))
}

/// Retrieves a user.
#[utoipa::path(get, path = "", params(InPath<UserId>), responses(Object<UserBody>))]
pub async fn get(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let user = users::get(&services, id(&request, "id")?).await?;
    Ok(object(user.version, &UserBody::from(user)))
}

/// Updates a user.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<UserId>, IfMatch), responses(Object<UserBody>))]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = UserPatch { blocked: body.blocked, profile: body.profile, metadata: body.metadata, roles: body.roles };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let user = users::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(user.version, &UserBody::from(user)))
}

/// Deletes a user.
#[utoipa::path(delete, path = "", params(InPath<UserId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    users::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
