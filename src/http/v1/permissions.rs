//! `/v1/permissions`.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Deserialize;

use crate::{
    domain::{
        name::DisplayName,
        permission::AssignableTo,
        policy::{ManagePermissions, ReadPermissions},
    },
    http::{access::Caller, problem::Problem},
    service::{
        App,
        permissions::{self, PutPermission},
    },
};

use super::{
    created,
    json::Json,
    object,
    params::{Query, id, if_match, new_id},
    plain,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    #[serde(default)]
    description: Option<DisplayName>,
    assignable_to: BTreeSet<AssignableTo>,
}

pub async fn put(
    caller: Caller<ManagePermissions>,
    request: HttpRequest,
    body: Json<PutBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    let put = PutPermission {
        name: new_id(&request, "name")?,
        description: body.description,
        assignable_to: body.assignable_to,
    };
    let (permission, is_new) = permissions::put(&app, &caller.identity, put, if_match(&request)?).await?;
    if is_new {
        let location = format!("{}/v1/permissions/{}", app.issuer(), permission.name);
        return Ok(created(permission.version, location, false, &permission));
    }
    Ok(object(permission.version, &permission))
}

pub async fn list(_: Caller<ReadPermissions>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after"])?;
    Ok(plain(&permissions::list(&app, query.page()?).await?))
}

pub async fn get(_: Caller<ReadPermissions>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let permission = permissions::get(&app, id(&request, "name")?).await?;
    Ok(object(permission.version, &permission))
}

pub async fn delete(
    caller: Caller<ManagePermissions>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    permissions::delete(&app, &caller.identity, id(&request, "name")?, if_match(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
