//! `/v1/signing-keys`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::policy::ManageSigningKeys,
    http::{access::Caller, openapi::answers::Plain, problem::Problem},
    service::{
        App,
        signing_keys::{self, Listed, Rotated},
    },
};

use super::{params::Query, plain};

/// The whole list: it is short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKeys)]
struct ListBody {
    data: Vec<Listed>,
    next: Option<String>,
}

/// Every signing key that is published or was.
#[utoipa::path(get, path = "", responses(Plain<ListBody>))]
pub async fn list(_: Caller<ManageSigningKeys>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&ListBody { data: signing_keys::list(&app).await?, next: None }))
}

/// Lets the next signing key sign, keeps the old one published, and publishes a new next one.
#[utoipa::path(post, path = "", responses(Plain<Rotated>))]
pub async fn rotate(
    caller: Caller<ManageSigningKeys>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    Ok(plain(&signing_keys::rotate(&app, &caller.identity).await?))
}
