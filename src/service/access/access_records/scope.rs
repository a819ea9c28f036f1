//! The tenant scope of an access record, and what a caller inside a tenant may define.

use crate::{
    domain::{
        access::{
            owner::OwnerScope,
            permission::{MANAGE, MANAGE_SELF},
            policy::TenantScope,
        },
        common::id::{GenerationId, OrganizationId},
        events::Actor,
    },
    service::{Error, caller::Caller, common::error::Rule},
    store::{self, Conn},
};

/// The tenant scope of a record: an organization with its current generation id, or `None` outside
/// any organization.
pub(super) type RecordScope = Option<(OrganizationId, GenerationId)>;

pub(super) fn resolve_record_scope(
    connection: &mut Conn,
    caller: &Caller,
    requested: Option<OrganizationId>,
) -> Result<RecordScope, Error> {
    let not_found = || Error::invalid("organization_id", "does not exist, or is not the organization of the caller");
    let id = match &caller.authority.tenant_scope {
        TenantScope::Deployment => requested,
        TenantScope::Tenant { organization, .. } if requested.is_none() || requested == *organization => {
            organization.clone()
        }
        TenantScope::Tenant { .. } => return Err(not_found()),
    };
    let Some(id) = id else { return Ok(None) };
    let found = store::directory::organizations::find(connection, &id)?.ok_or_else(not_found)?;
    Ok(Some((found.id, found.generation_id)))
}

/// Refuses calls that a key of a user or an organization makes for itself: such a key could define
/// its own access, or that of keys it creates.
pub(super) fn refuse_key_as_caller(caller: &Caller) -> Result<(), Error> {
    let calls_itself = matches!(caller.origin.actor, Actor::Key(_)) && caller.origin.on_behalf_of.is_none();
    if calls_itself && caller.authority.tenant_scope != TenantScope::Deployment {
        Err(Error::NotAllowed(Rule::OwnAccess))
    } else {
        Ok(())
    }
}

/// The owner that the principals must have, if the caller may name only its own; `None` if it may
/// name others.
pub(super) fn required_principal_owner(caller: &Caller) -> Result<Option<OwnerScope>, Error> {
    match (&caller.authority.tenant_scope, &caller.on_behalf_of) {
        (TenantScope::Deployment, _) => Ok(None),
        (TenantScope::Tenant { organization: Some(_), .. }, _) if caller.authority.has_permission(MANAGE) => Ok(None),
        (TenantScope::Tenant { .. }, Some(owner)) if caller.authority.has_permission(MANAGE_SELF) => {
            Ok(Some(owner.clone()))
        }
        (TenantScope::Tenant { .. }, _) => Err(Error::Forbidden(MANAGE_SELF)),
    }
}
