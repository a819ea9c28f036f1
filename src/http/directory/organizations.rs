//! `/v1/organizations`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageDirectory,
        common::{id::OrganizationId, json::Metadata, name::DisplayName, time::Timestamp},
        directory::Organization,
    },
    http::{
        extract::{
            access::Caller,
            json::{Json, deserialize_nullable},
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
        directory::organizations::{self, OrganizationPatch, OrganizationPut},
    },
};

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationBody {
    id: OrganizationId,
    name: Option<DisplayName>,
    metadata: Metadata,
    created_at: Timestamp,
    version: i64,
}

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            metadata: organization.metadata,
            created_at: organization.created_at,
            version: organization.version,
        }
    }
}

/// A complete organization. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    name: Option<DisplayName>,
    #[serde(default)]
    metadata: Metadata,
}

/// Changes to an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrganizationPatch)]
#[serde(deny_unknown_fields)]
pub struct PatchBody {
    #[serde(default, deserialize_with = "deserialize_nullable")]
    pub(crate) name: Option<Option<DisplayName>>,
    pub(crate) metadata: Option<Metadata>,
}

/// Creates or replaces an organization.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "", params(InPath<OrganizationId>, IfMatch), responses(Stored<OrganizationBody>))]
pub async fn put(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PutBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = OrganizationPut { id: parse_new_path_id(&request, "id")?, name: body.name, metadata: body.metadata };
    let (organization, is_new) =
        organizations::put(&services, &caller.identity, put, parse_if_match(&request)?).await?;
    let location = format!("{}/v1/organizations/{}", services.issuer(), organization.id);
    let (version, body) = (organization.version, OrganizationBody::from(organization));
    Ok(if is_new { created_response(version, location, false, &body) } else { object(version, &body) })
}

/// Lists the organizations, newest first.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<OrganizationBody>))]
pub async fn list(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&organizations::list(&services, query.page()?).await?.map(OrganizationBody::from)))
}

/// Retrieves an organization.
#[utoipa::path(get, path = "", params(InPath<OrganizationId>), responses(Object<OrganizationBody>))]
pub async fn get(
    _: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let organization = organizations::get(&services, id(&request, "id")?).await?;
    Ok(object(organization.version, &OrganizationBody::from(organization)))
}

/// Updates an organization.
///
/// Omitted fields keep their values.
#[utoipa::path(patch, path = "", params(InPath<OrganizationId>, IfMatch), responses(Object<OrganizationBody>))]
pub async fn patch(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    body: Json<PatchBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let patch = OrganizationPatch { name: body.name, metadata: body.metadata };
    let (id, if_version) = (id(&request, "id")?, parse_if_match(&request)?);
    let organization = organizations::patch(&services, &caller.identity, id, patch, if_version).await?;
    Ok(object(organization.version, &OrganizationBody::from(organization)))
}

/// Deletes an organization.
#[utoipa::path(delete, path = "", params(InPath<OrganizationId>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageDirectory>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    organizations::delete(&services, &caller.identity, id(&request, "id")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
