//! `/v1/api-keys`.

pub mod bodies;
pub mod owner;
pub mod replaced;
pub mod service_clients;
pub mod usage;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::{
        access::policy::ManageKeys,
        common::id::KeyId,
        credentials::api_key::{ApiKeyPatch, KeyFilter},
    },
    http::{
        api_keys::bodies::{ApiKeyBody, CreateBody, RotateBody},
        extract::{Caller, IdempotentJson, IfMatch, Json, OptionalJson, Paging, Path, Query},
        problem::Problem,
        response::{Created, Deleted, Listing, Object},
    },
    service::api_keys::{self, KeyTransition},
};

/// Creates an API key.
///
/// The value of the key is returned only in this response.
#[utoipa::path(post, path = "")]
pub async fn create(
    caller: Caller<ManageKeys>,
    IdempotentJson { mut body, idempotency }: IdempotentJson<CreateBody>,
) -> Result<Created<ApiKeyBody>, Problem> {
    let (import, record) = (body.import.take(), body.access_record.take());
    let Some(import) = import else {
        return Ok(api_keys::create(&caller.services, &caller, body.into_key(), record, idempotency).await?.into());
    };
    if record.is_some() {
        let message = "cannot be combined with import; create the record with POST /v1/access-records";
        return Err(Problem::invalid_field("access_record", message));
    }
    Ok(api_keys::import(&caller.services, &caller, body.into_key(), import, idempotency).await?.into())
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
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::patch(&caller.services, &caller, id, patch, version).await?.into()))
}

/// Rotates an API key.
///
/// The response contains the new value. The old value keeps working until the grace period ends.
#[utoipa::path(post, path = "")]
pub async fn rotate(
    caller: Caller<ManageKeys>,
    OptionalJson(body): OptionalJson<RotateBody>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::rotate(&caller.services, &caller, id, body.grace, version).await?.into()))
}

/// Cancels a rotation during its grace period.
///
/// The old value keeps working beyond the grace period, and the new value stops working at once.
#[utoipa::path(post, path = "")]
pub async fn cancel_rotation(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::cancel_rotation(&caller.services, &caller, id, version).await?.into()))
}

/// Suspends an API key until it is resumed.
#[utoipa::path(post, path = "")]
pub async fn suspend(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::step(&caller.services, &caller, id, KeyTransition::Suspend, version).await?.into()))
}

/// Resumes a suspended API key.
#[utoipa::path(post, path = "")]
pub async fn resume(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::step(&caller.services, &caller, id, KeyTransition::Resume, version).await?.into()))
}

/// Revokes an API key permanently.
///
/// No exchange that begins after the response succeeds.
#[utoipa::path(post, path = "")]
pub async fn revoke(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Object<ApiKeyBody>, Problem> {
    Ok(Object(api_keys::step(&caller.services, &caller, id, KeyTransition::Revoke, version).await?.into()))
}

/// Deletes an API key.
///
/// The key is revoked and hidden. It can still be retrieved with `archived`.
#[utoipa::path(delete, path = "")]
pub async fn delete(
    caller: Caller<ManageKeys>,
    Path(id): Path<KeyId>,
    IfMatch(version): IfMatch,
) -> Result<Deleted, Problem> {
    api_keys::step(&caller.services, &caller, id, KeyTransition::Delete, version).await?;
    Ok(Deleted)
}
