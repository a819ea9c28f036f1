//! `GET /v1/caller`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        event::ActorRef,
        id::{OrganizationId, UserId},
        permission::PermissionSet,
        policy::{KnowOneself, Place},
    },
    http::{access::Caller, openapi::answers::Plain, problem::Problem},
    service::App,
};

use super::{params::Query, plain};

/// Who calls.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallerNow)]
pub struct CallerBody {
    actor: ActorRef,
    /// The user for whom the actor calls.
    on_behalf_of: Option<UserId>,
    /// The organization outside of which nothing is seen.
    organization_id: Option<OrganizationId>,
    /// What governs Keyswap of what is held.
    permissions: PermissionSet,
}

/// Who calls, and what they may do here.
#[utoipa::path(get, path = "", responses(Plain<CallerBody>))]
pub async fn get(caller: Caller<KnowOneself>, request: HttpRequest, _: Data<App>) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let caller = caller.identity;
    Ok(plain(&CallerBody {
        actor: caller.origin.actor.to_ref(),
        on_behalf_of: caller.origin.on_behalf_of,
        organization_id: match caller.authority.place {
            Place::Everywhere => None,
            Place::Inside { organization, .. } => organization,
        },
        permissions: caller.authority.scope,
    }))
}
