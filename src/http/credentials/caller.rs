//! `GET /v1/caller`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            permission::PermissionSet,
            policy::{ReadOwnIdentity, TenantScope},
        },
        common::id::{OrganizationId, UserId},
        events::ActorRef,
    },
    http::{extract::Caller, problem::Problem, response::Unversioned},
};

/// The authenticated caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallerNow)]
pub struct CallerBody {
    actor: ActorRef,
    /// The user on whose behalf the actor calls.
    on_behalf_of: Option<UserId>,
    /// The organization to which the caller is restricted.
    organization_id: Option<OrganizationId>,
    /// The management permissions of the caller.
    permissions: PermissionSet,
}

/// Retrieves the authenticated caller and its management permissions.
#[utoipa::path(get, path = "")]
pub async fn get(caller: Caller<ReadOwnIdentity>) -> Result<Unversioned<CallerBody>, Problem> {
    let caller = caller.identity;
    Ok(Unversioned(CallerBody {
        actor: caller.origin.actor.to_ref(),
        on_behalf_of: caller.origin.on_behalf_of,
        organization_id: match caller.authority.tenant_scope {
            TenantScope::Account => None,
            TenantScope::Tenant { organization, .. } => organization,
        },
        permissions: caller.authority.scope,
    }))
}
