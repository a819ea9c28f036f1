//! `/v1/api-keys`.

pub mod bodies;
pub mod owner;
pub mod replaced;
pub mod service_clients;
pub mod usage;

use actix_web::{HttpRequest, HttpResponse, web::Data};

use crate::{
    domain::{access::policy::ManageKeys, common::id::KeyId, credentials::api_key::KeyFilter},
    http::{
        access::access_records::InitialAccessRecordBody,
        api_keys::{
            bodies::{ApiKeyBody, CreateBody, ImportBody, PatchBody, RotateBody},
            owner::ApiKeyOwnerRequest,
        },
        extract::{
            access::Caller,
            json::{Body, Json, OptionalJson},
            query::{Query, id, parse_if_match},
        },
        openapi::{
            answers::{Deleted, Listing, Made, Object, Rekeyed},
            params::{IfMatch, InPath, KeyQuery, Once, Paging},
        },
        problem::Problem,
        response::{created_response, object, plain},
    },
    service::{
        InputFault, Services,
        api_keys::{
            self, Import, Step,
            types::{ApiKeyPatch, NewApiKey, Shown},
        },
        common::idempotency::CreateOutcome,
    },
};

fn shown(shown: Shown) -> HttpResponse {
    object(shown.key.version, &ApiKeyBody::new(shown, None))
}

/// Creates an API key.
///
/// The value of the key is returned only in this response.
#[utoipa::path(post, path = "", params(Once), responses(Made<ApiKeyBody>))]
pub async fn create(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    body: Json<CreateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Body { value: body, once } = body.read().await?;
    Query::of(&request, &[])?;
    let new = NewApiKey {
        name: body.name,
        owner: body.owner.map(ApiKeyOwnerRequest::into_owner),
        permissions: body.permissions,
        audiences: body.audiences,
        metadata: body.metadata,
        max_token_ttl: body.max_token_ttl,
        exchanges_per_minute: body.exchanges_per_minute,
        expires_at: body.expires_at,
    };
    let record = body.access_record.map(InitialAccessRecordBody::asked);
    if body.import.is_some() && record.is_some() {
        let alone = "comes with a key that is made here: POST /v1/access-records for one that is imported";
        return Err(Problem::invalid(vec![InputFault::new("access_record", alone)]));
    }
    let (made, value, replayed) = match body.import {
        None => match api_keys::create(&services, &caller.identity, new, record, once).await? {
            CreateOutcome::New(made) => (made.shown, Some(made.value), false),
            CreateOutcome::Existing(made) => (made, None, true),
        },
        Some(ImportBody { sha256, masked }) => {
            match api_keys::import(&services, &caller.identity, new, Import { sha256, masked }, once).await? {
                CreateOutcome::New(made) => (made, None, false),
                CreateOutcome::Existing(made) => (made, None, true),
            }
        }
    };
    let (version, location) = (made.key.version, format!("{}/v1/api-keys/{}", services.issuer(), made.key.id));
    let body = ApiKeyBody::new(made, value.as_ref().map(|value| value.expose()));
    Ok(created_response(version, location, replayed, &body))
}

/// Lists the API keys that the caller may see, newest first.
#[utoipa::path(get, path = "", params(Paging, KeyQuery), responses(Listing<ApiKeyBody>))]
pub async fn list(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &LIST_PARAMETERS)?;
    let filter = KeyFilter {
        owner_type: query.parse("owner_type", "user, organization, service_client or none")?,
        service_client: query.parse("service_client", "the id of a service client")?,
        organization: query.parse("organization", "the id of an organization")?,
        user: query.parse("user", "the id of a user")?,
        state: query.parse("state", "active, suspended, revoked or expired")?,
        unused_since: query.parse("unused_since", "a time, such as 2030-01-31T12:00:00Z")?,
        only_archived: query.parse("archived", "true or false")?.unwrap_or(false),
    };
    let page = api_keys::list(&services, &caller.identity, filter, query.page()?).await?;
    Ok(plain(&page.map(|key| ApiKeyBody::new(key, None))))
}

const LIST_PARAMETERS: [&str; 9] =
    ["limit", "after", "owner_type", "service_client", "organization", "user", "state", "unused_since", "archived"];

/// Retrieves an API key, without its value.
#[utoipa::path(get, path = "", params(InPath<KeyId>, ("archived" = Option<bool>, Query, description = "Whether to look among the deleted ones.")), responses(Object<ApiKeyBody>))]
pub async fn get(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let archived = Query::of(&request, &["archived"])?.parse("archived", "true or false")?.unwrap_or(false);
    Ok(shown(api_keys::get(&services, &caller.identity, id(&request, "id")?, archived).await?))
}

/// Updates an API key.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<KeyId>, IfMatch), responses(Object<ApiKeyBody>))]
pub async fn patch(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = ApiKeyPatch {
        name: body.name,
        permissions: body.permissions,
        audiences: body.audiences,
        metadata: body.metadata,
        max_token_ttl: body.max_token_ttl,
        exchanges_per_minute: body.exchanges_per_minute,
        expires_at: body.expires_at,
    };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    Ok(shown(api_keys::patch(&services, &caller.identity, id, patch, if_version).await?))
}

/// Rotates an API key.
///
/// The response contains the new value. The old value keeps working until the grace period ends.
#[utoipa::path(post, path = "", params(InPath<KeyId>, IfMatch), responses(Rekeyed<ApiKeyBody>))]
pub async fn rotate(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    body: OptionalJson<RotateBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?;
    let rotated =
        api_keys::rotate(&services, &caller.identity, id(&request, "id")?, body.grace, parse_if_match(&request)?)
            .await?;
    let version = rotated.shown.key.version;
    Ok(object(version, &ApiKeyBody::new(rotated.shown, Some(rotated.value.expose()))))
}

/// Cancels a rotation during its grace period.
///
/// The old value keeps working beyond the grace period, and the new value stops working at once.
#[utoipa::path(post, path = "", params(InPath<KeyId>, IfMatch), responses(Object<ApiKeyBody>))]
pub async fn cancel_rotation(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    Ok(shown(api_keys::cancel_rotation(&services, &caller.identity, id, if_version).await?))
}

/// Suspends an API key until it is resumed.
#[utoipa::path(post, path = "", params(InPath<KeyId>, IfMatch), responses(Object<ApiKeyBody>))]
pub async fn suspend(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    step(&caller, &request, &services, Step::Suspend).await
}

/// Resumes a suspended API key.
#[utoipa::path(post, path = "", params(InPath<KeyId>, IfMatch), responses(Object<ApiKeyBody>))]
pub async fn resume(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    step(&caller, &request, &services, Step::Resume).await
}

/// Revokes an API key permanently.
///
/// No exchange that begins after the response succeeds.
#[utoipa::path(post, path = "", params(InPath<KeyId>, IfMatch), responses(Object<ApiKeyBody>))]
pub async fn revoke(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    step(&caller, &request, &services, Step::Revoke).await
}

/// Deletes an API key.
///
/// The key is revoked and hidden. It can still be retrieved with `archived`.
#[utoipa::path(delete, path = "", params(InPath<KeyId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageKeys>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    api_keys::step(&services, &caller.identity, id(&request, "id")?, Step::Delete, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn step(
    caller: &Caller<ManageKeys>,
    request: &HttpRequest,
    services: &Services,
    step: Step,
) -> Result<HttpResponse, Problem> {
    Ok(shown(api_keys::step(services, &caller.identity, id(request, "id")?, step, parse_if_match(request)?).await?))
}
