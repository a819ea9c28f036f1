//! `/v1/api-keys`.

pub mod bodies;
pub mod credential_end;
pub mod owner;
pub mod service_clients;
pub mod usage;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::{
        access::policy::ManageKeys,
        common::{id::KeyId, preconditions::Preconditions},
        credentials::api_key::{ApiKeyPatch, KeyFilter},
    },
    http::{
        api_keys::bodies::{ApiKeyBody, CreateBody, RotateBody},
        extract::{Caller, Idempotent, Json, OptionalJson, Paging, Path, Query},
        problem::Problem,
        response::{Created, Deleted, Issued, Listing, Object},
    },
    service::api_keys::{self, KeyTransition, Rotation, revoke::Revocation},
};

/// Creates an API key.
///
/// The value of the key is returned only in this response.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageKeys>,
    Idempotent { body: Json(mut body), idempotency }: Idempotent<Json<CreateBody>>,
) -> Result<Created<ApiKeyBody>, Problem> {
    match body.import.take() {
        Some(import) => {
            Ok(api_keys::import(&caller.services, &caller, body.into_key(), import, idempotency).await?.into())
        }
        None => Ok(api_keys::create(&caller.services, &caller, body.into_key(), idempotency).await?.into()),
    }
}

/// Lists the API keys that the caller may see, newest first.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: Caller<ManageKeys>,
    Query(page): Query<Paging>,
    Query(filter): Query<KeyFilter>,
) -> Result<Listing<ApiKeyBody>, Problem> {
    Ok(api_keys::list(&caller.services, &caller, filter, page.into()).await?.into())
}

/// Selects deleted or existing API keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ArchiveQuery {
    /// Whether to look among deleted keys instead of existing ones.
    #[serde(default)]
    archived: bool,
}

/// Retrieves an API key, without its value.
#[utoipa::path(get, path = "")]
pub async fn get(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    Query(query): Query<ArchiveQuery>,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::get(&caller.services, &caller, id, query.archived).await?.into()))
}

/// Updates an API key.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "")]
pub async fn patch(
    caller: Caller<ManageKeys>,
    Json(patch): Json<ApiKeyPatch>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::patch(&caller.services, &caller, id, patch, preconditions).await?.into()))
}

/// Rotates an API key.
///
/// The response contains the new value. The old value keeps working until the grace period ends. If
/// the new value was lost, cancel the rotation and rotate again.
#[utoipa::path(post, path = "")]
pub async fn rotate(
    caller: Caller<ManageKeys>,
    Idempotent { body: OptionalJson(body), idempotency }: Idempotent<OptionalJson<RotateBody>>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Issued<ApiKeyBody>, Problem> {
    let rotation = Rotation { id, grace: body.grace, preconditions };
    Ok(api_keys::rotate(&caller.services, &caller, rotation, idempotency).await?.into())
}

/// Cancels a rotation during its grace period.
///
/// The old value keeps working beyond the grace period, and the new value stops working at once.
#[utoipa::path(post, path = "")]
pub async fn cancel_rotation(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::cancel_rotation(&caller.services, &caller, id, preconditions).await?.into()))
}

/// Suspends an API key until it is resumed.
#[utoipa::path(post, path = "")]
pub async fn suspend(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::step(&caller.services, &caller, id, KeyTransition::Suspend, preconditions).await?.into()))
}

/// Resumes a suspended API key.
#[utoipa::path(post, path = "")]
pub async fn resume(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::step(&caller.services, &caller, id, KeyTransition::Resume, preconditions).await?.into()))
}

/// Revokes an API key permanently.
///
/// No exchange that begins after the response succeeds. With `descendants`, the keys that were
/// created with the key are revoked as well, at most 500 in one request. The key of the caller is
/// revoked last.
#[utoipa::path(post, path = "")]
pub async fn revoke(
    caller: Caller<ManageKeys>,
    OptionalJson(revocation): OptionalJson<Revocation>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::revoke(&caller.services, &caller, id, revocation, preconditions).await?.into()))
}

/// Deletes an API key.
///
/// The key is revoked and hidden. It can still be retrieved with `archived`.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    preconditions: Preconditions,
) -> Result<Deleted, Problem> {
    api_keys::step(&caller.services, &caller, id, KeyTransition::Delete, preconditions).await?;
    Ok(Deleted)
}
