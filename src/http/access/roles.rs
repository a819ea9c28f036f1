//! `/v1/roles`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            permission::PermissionSet,
            policy::{ManageRoles, ReadRoles},
            role::{Role, RoleName},
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
        access::roles::{self, RoleInput},
    },
};

/// A complete role. Omitted fields are set to empty.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RolePut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    description: Option<DisplayName>,
    permissions: PermissionSet,
}

/// Creates or replaces a role.
///
/// Omitted fields are set to empty. Repeating a request changes nothing.
#[utoipa::path(put, path = "", params(InPath<RoleName>, IfMatch), responses(Stored<Role>))]
pub async fn put(
    caller: Caller<ManageRoles>,
    request: HttpRequest,
    body: Json<PutBody>,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = RoleInput {
        name: parse_new_path_id(&request, "name")?,
        description: body.description,
        permissions: body.permissions,
    };
    let (role, is_new) = roles::put(&services, &caller.identity, put, parse_if_match(&request)?).await?;
    let location = format!("{}/v1/roles/{}", services.issuer(), role.name);
    Ok(if is_new { created_response(role.version, location, false, &role) } else { object(role.version, &role) })
}

/// Lists the roles, ordered by name.
#[utoipa::path(get, path = "", params(Paging), responses(Listing<Role>))]
pub async fn list(
    _: Caller<ReadRoles>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&roles::list(&services, query.page()?).await?))
}

/// Retrieves a role.
#[utoipa::path(get, path = "", params(InPath<RoleName>), responses(Object<Role>))]
pub async fn get(
    _: Caller<ReadRoles>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let role = roles::get(&services, id(&request, "name")?).await?;
    Ok(object(role.version, &role))
}

/// Deletes a role.
#[utoipa::path(delete, path = "", params(InPath<RoleName>, IfMatch), responses(Deleted))]
pub async fn delete(
    caller: Caller<ManageRoles>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    roles::delete(&services, &caller.identity, id(&request, "name")?, parse_if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
