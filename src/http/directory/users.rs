//! `/v1/users`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            policy::{LockUsers, ManageDirectory, UnlockUsers},
            role::RoleSet,
        },
        common::{
            id::UserId,
            json::{Metadata, deserialize_present},
            name::Description,
            preconditions::Preconditions,
            time::Timestamp,
        },
        directory::User,
    },
    http::{
        extract::{Caller, Json, NewPath, OptionalJson, Paging, Path, Query},
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
    /// Whether the product has blocked the user.
    blocked: bool,
    /// Whether an operator has locked the user.
    locked: bool,
    lock_reason: Option<Description>,
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
            locked: user.locked_at.is_some(),
            lock_reason: user.lock_reason,
            profile: user.profile,
            metadata: user.metadata,
            roles: user.roles,
            created_at: user.created_at,
            version: user.version,
        }
    }
}

/// A user. Omitted data is set to empty. `blocked` and `roles` keep their values if they are
/// omitted; a new user is not blocked and has no roles.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UserPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    blocked: Option<bool>,
    #[serde(default)]
    profile: Metadata,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "deserialize_present")]
    #[schema(nullable = false)]
    roles: Option<RoleSet>,
}

/// Creates or replaces a user.
///
/// Omitted data is set to empty. `blocked`, `roles` and the lock of an operator keep their values.
/// Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageDirectory>,
    Json(PutBody { blocked, profile, metadata, roles }): Json<PutBody>,
    NewPath(id): NewPath<UserId>,
    preconditions: Preconditions,
) -> Result<Stored<UserBody>, Problem> {
    let put = UserPut { id, blocked, profile, metadata, roles };
    Ok(users::put(&caller.services, &caller, put, preconditions).await?.into())
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
    preconditions: Preconditions,
) -> Result<Object<UserBody>, Problem> {
    Ok(Object(users::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Why a user is locked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = UserLock)]
#[serde(deny_unknown_fields)]
pub struct LockBody {
    reason: Option<Description>,
}

/// Locks a user: none of their keys and sessions works.
///
/// Only the administrator can unlock the user. `PUT`, `PATCH` and imports of users do not change
/// the lock.
#[utoipa::path(post, path = "")]
pub async fn lock(
    caller: Caller<LockUsers>,
    OptionalJson(body): OptionalJson<LockBody>,
    Path(id): Path<UserId>,
    preconditions: Preconditions,
) -> Result<Object<UserBody>, Problem> {
    Ok(Object(users::lock(&caller.services, &caller, id, body.reason, preconditions).await?.into()))
}

/// Unlocks a user.
#[utoipa::path(post, path = "")]
pub async fn unlock(
    caller: Caller<UnlockUsers>,
    Path(id): Path<UserId>,
    preconditions: Preconditions,
) -> Result<Object<UserBody>, Problem> {
    Ok(Object(users::unlock(&caller.services, &caller, id, preconditions).await?.into()))
}

/// Deletes a user.
///
/// Only the administrator can delete a locked user.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    Path(id): Path<UserId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    users::delete(&caller.services, &caller, id, preconditions).await?;
    Ok(Deleted)
}
