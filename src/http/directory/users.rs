//! `/v1/users`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{policy::ManageDirectory, role::RoleSet},
        common::{id::UserId, json::Metadata, time::Timestamp},
        directory::User,
    },
    http::{
        extract::{Caller, IfMatch, Json, NewPath, Paging, Path, Query},
        problem::Problem,
        response::{Deleted, Listing, Object, Stored, impl_resource},
    },
    service::directory::users::{self, UserPatch, UserPut},
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

impl_resource!(UserBody, "/v1/users/{}", id);

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

/// Creates or replaces a user.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { blocked, profile, metadata, roles }): Json<PutBody>,
    NewPath(id): NewPath<UserId>,
    IfMatch(version): IfMatch,
) -> Result<Stored<UserBody>, Problem> {
    let put = UserPut { id, blocked, profile, metadata, roles };
    Ok(users::put(&caller.services, &caller, put, version).await?.into())
}

/// Lists the users, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller<ManageDirectory>, Query(page): Query<Paging>) -> Result<Listing<UserBody>, Problem> {
    Ok(users::list(&caller.services, page.into()).await?.into())
}

/// Retrieves a user.
#[utoipa::path(get, path = "")]
pub async fn get(caller: Caller<ManageDirectory>, Path(id): Path<UserId>) -> Result<Object<UserBody>, Problem> {
    Ok(Object(users::get(&caller.services, id).await?.into()))
}

/// Updates a user.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    Json(patch): Json<UserPatch>,
    Path(id): Path<UserId>,
    IfMatch(version): IfMatch,
) -> Result<Object<UserBody>, Problem> {
    Ok(Object(users::patch(&caller.services, &caller, id, patch, version).await?.into()))
}

/// Deletes a user.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    Path(id): Path<UserId>,
    IfMatch(version): IfMatch,
) -> Result<Deleted, Problem> {
    users::delete(&caller.services, &caller, id, version).await?;
    Ok(Deleted)
}
