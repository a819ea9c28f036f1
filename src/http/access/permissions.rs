//! `/v1/permissions`.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            permission::{AssignableOwnerType, Permission, PermissionName},
            policy::{ManagePermissions, ReadPermissions},
        },
        common::name::DisplayName,
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
        access::permissions::{self, PermissionInput},
    },
};

/// A permission to create or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PermissionPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    description: Option<DisplayName>,
    #[schema(value_type = Vec<AssignableOwnerType>)]
    assignable_to: BTreeSet<AssignableOwnerType>,
}

/// Creates or replaces a permission in the catalog.
///
/// Repeating a request changes nothing.
#[utoipa::path(put, path = "", params(InPath<PermissionName>, IfMatch), responses(Stored<Permission>))]
pub async fn put(
    caller: Caller<ManagePermissions>,
    request: HttpRequest,
    body: Json<PutBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = PermissionInput {
        name: parse_new_path_id(&request, "name")?,
        description: body.description,
        assignable_to: body.assignable_to,
    };
    let (permission, is_new) = permissions::put(&services, &caller.identity, put, parse_if_match(&request)?).await?;
    if is_new {
        let location = format!("{}/v1/permissions/{}", services.issuer(), permission.name);
        return Ok(created_response(permission.version, location, false, &permission));
    }
    Ok(object(permission.version, &permission))
}

/// Lists the permissions in the catalog.
#[utoipa::path(get, path = "", params(Paging, ("assignable_to" = Option<AssignableOwnerType>, Query, description = "Those that keys of such an owner may carry.")), responses(Listing<Permission>))]
pub async fn list(
    _: Caller<ReadPermissions>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after", "assignable_to"])?;
    let to = query.parse("assignable_to", "user, organization or service_client")?;
    Ok(plain(&permissions::list(&services, to, query.page()?).await?))
}

/// Retrieves a permission in the catalog.
#[utoipa::path(get, path = "", params(InPath<PermissionName>), responses(Object<Permission>))]
pub async fn get(
    _: Caller<ReadPermissions>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let permission = permissions::get(&services, id(&request, "name")?).await?;
    Ok(object(permission.version, &permission))
}

/// Deletes a permission from the catalog.
#[utoipa::path(delete, path = "", params(InPath<PermissionName>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManagePermissions>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    permissions::delete(&services, &caller.identity, id(&request, "name")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
