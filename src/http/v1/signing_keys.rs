//! `/v1/signing-keys`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;

use crate::{
    domain::policy::ManageSigningKeys,
    http::{access::Caller, problem::Problem},
    service::{
        App,
        signing_keys::{self, Listed},
    },
};

use super::{params::Query, plain};

/// The whole list: it is short.
#[derive(Debug, Serialize)]
struct ListBody {
    data: Vec<Listed>,
    next: Option<String>,
}

pub async fn list(_: Caller<ManageSigningKeys>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&ListBody { data: signing_keys::list(&app).await?, next: None }))
}

pub async fn rotate(
    caller: Caller<ManageSigningKeys>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&signing_keys::rotate(&app, &caller.identity).await?))
}
