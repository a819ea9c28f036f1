//! The tenant scope of an access record, and what a caller inside a tenant may define.

use crate::{
    domain::{
        access::{
            access_record::AccessRecord,
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
        TenantScope::Account => requested,
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
    if calls_itself && caller.authority.tenant_scope != TenantScope::Account {
        Err(Error::NotAllowed(Rule::OwnAccess))
    } else {
        Ok(())
    }
}

/// Requires that the caller may delete a record that it administers. Only callers outside any
/// tenant may delete a record by which an operator limits a service client or a key.
pub(super) fn require_may_delete(caller: &Caller, record: &AccessRecord) -> Result<(), Error> {
    refuse_key_as_caller(caller)?;
    let limits = record.is_granted_by_operator() && record.limited_principals().next().is_some();
    if limits && caller.authority.tenant_scope != TenantScope::Account {
        Err(Error::NotAllowed(Rule::OperatorLimit))
    } else {
        Ok(())
    }
}

/// Requires that the caller may name principals: as an operator, for the organization, or for
/// itself.
pub(super) fn require_may_grant(caller: &Caller) -> Result<(), Error> {
    let authority = &caller.authority;
    match &authority.tenant_scope {
        TenantScope::Account => Ok(()),
        TenantScope::Tenant { organization: Some(_), .. } if authority.has_permission(MANAGE) => Ok(()),
        TenantScope::Tenant { .. } if caller.user_scope.is_some() && authority.has_permission(MANAGE_SELF) => Ok(()),
        TenantScope::Tenant { .. } => Err(Error::Forbidden(MANAGE_SELF)),
    }
}

/// Returns whether the caller may name a user of its tenant scope as a principal: itself, or any
/// user of the organization that it manages.
pub(super) fn may_name_as_principal(caller: &Caller, user: &OwnerScope) -> bool {
    let authority = &caller.authority;
    match &authority.tenant_scope {
        TenantScope::Account => true,
        TenantScope::Tenant { organization, .. } => {
            organization.is_some() && authority.has_permission(MANAGE)
                || authority.has_permission(MANAGE_SELF) && caller.user_scope.as_ref() == Some(user)
        }
    }
}
