//! The resources that a caller inside a tenant may grant: those that somebody else granted to the
//! user, and those of the configured templates. Operators are not bounded.

use crate::{
    config::sections::AccessRecords,
    domain::{
        access::{
            access_record::{AccessRecord, EffectiveStatement, Principal, Statement, grants_on_pattern},
            owner::{Owner, OwnerScope},
            permission::{MANAGE, PermissionSet},
            policy::TenantScope,
            resource::ResourcePattern,
            role::Role,
        },
        common::id::{GenerationId, KeyId, OrganizationId, ServiceClientId},
        events::ActorRef,
    },
    service::{Error, InputFault, caller::Caller},
    store::{
        self, StoreError, Tx,
        access::effective_statements::{GrantedBy, find_statements_of_principals},
        credentials::key_statements::find_statements_of_key,
    },
};

/// A caller that grants, with the configured templates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grantor<'a> {
    pub caller: &'a Caller,
    pub settings: &'a AccessRecords,
}

/// What a caller inside a tenant may grant.
struct GrantBounds {
    held: Vec<EffectiveStatement>,
    /// Resources on which the caller may grant every permission that it can grant.
    templates: Vec<ResourcePattern>,
}

impl GrantBounds {
    fn covers(&self, permissions: &PermissionSet, pattern: &ResourcePattern) -> bool {
        self.templates.iter().any(|template| template.contains(pattern))
            || grants_on_pattern(&self.held, permissions, pattern)
    }
}

impl Grantor<'_> {
    /// Returns the bounds of the caller, or `None` for an operator.
    fn bounds(&self, tx: &mut Tx<'_>) -> Result<Option<GrantBounds>, StoreError> {
        let TenantScope::Tenant { organization, user } = &self.caller.authority.tenant_scope else { return Ok(None) };
        if let Some(statements) = &self.caller.key_access {
            return Ok(Some(GrantBounds { held: statements.clone(), templates: Vec::new() }));
        }
        let (Some(user), Some(owner)) = (user, &self.caller.user_scope) else {
            return Ok(Some(GrantBounds { held: Vec::new(), templates: Vec::new() }));
        };
        let held = match owner.generation_id() {
            Some(id) => {
                let granted = GrantedBy::OtherThan(ActorRef::of_user(user));
                find_statements_in_scope(tx, &[id.as_str()], owner, &granted)?
            }
            None => Vec::new(),
        };
        let may_use_all = organization.is_some() && self.caller.authority.has_permission(MANAGE);
        let templates = self.settings.user_resources.iter().filter(|template| template.names_user() || may_use_all);
        let templates = templates.filter_map(|template| template.pattern(Some(user), organization.as_ref())).collect();
        Ok(Some(GrantBounds { held, templates }))
    }
}

/// Faults of what `after` grants in addition to `before`: resources that the caller may not grant,
/// and changes that lift a limit that an operator set.
pub(super) fn find_resource_faults(
    tx: &mut Tx<'_>,
    grantor: Grantor<'_>,
    roles: &[Role],
    before: Option<&AccessRecord>,
    after: &AccessRecord,
) -> Result<Vec<InputFault>, Error> {
    let Some(bounds) = grantor.bounds(tx)? else { return Ok(Vec::new()) };
    let mut faults = Vec::new();
    for principal in &after.principals {
        let limit = find_operator_limit(tx, principal, after.organization.as_ref())?;
        for (position, statement) in after.statements.iter().enumerate() {
            let permissions = permissions_of(statement, roles);
            let is_kept =
                |before: &AccessRecord| before.principals.contains(principal) && before.statements.contains(statement);
            for pattern in statement.resources.iter().filter(|_| !before.is_some_and(is_kept)) {
                let message = if !bounds.covers(&permissions, pattern) {
                    format!("you cannot grant {pattern}: use resources that others granted to you with these roles")
                } else if limit.as_ref().is_some_and(|limit| !grants_on_pattern(limit, &permissions, pattern)) {
                    format!(
                        "an operator limits the resources of {}: {pattern} is not within them; choose a resource within the limit",
                        principal.id()
                    )
                } else {
                    continue;
                };
                let fault = InputFault::new(format!("statements[{position}].resources"), message);
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
    }
    let lifted = before.into_iter().filter(|before| before.is_granted_by_operator());
    let lifted = lifted.flat_map(AccessRecord::limited_principals).filter(|one| !after.principals.contains(one));
    faults.extend(lifted.map(|principal| {
        let message =
            format!("this record limits {}: only an operator with keyswap:keys can remove it", principal.id());
        InputFault::new("principals", message)
    }));
    Ok(faults)
}

/// Faults of adding permissions to a key or a service client that access records apply to:
/// resources on which the caller may not grant the permissions.
pub(crate) fn find_addition_faults(
    tx: &mut Tx<'_>,
    grantor: Grantor<'_>,
    added: &PermissionSet,
    statements: &[EffectiveStatement],
) -> Result<Vec<InputFault>, Error> {
    if added.is_empty() || statements.is_empty() {
        return Ok(Vec::new());
    }
    let Some(bounds) = grantor.bounds(tx)? else { return Ok(Vec::new()) };
    let mut faults = Vec::new();
    for statement in statements {
        let permissions = statement.permissions.intersection(added);
        for pattern in statement.resources.iter().filter(|_| !permissions.is_empty()) {
            if !bounds.covers(&permissions, pattern) {
                let message = format!(
                    "you cannot grant {permissions} on {pattern}: remove the resource from its access record first"
                );
                faults.push(InputFault::new("permissions", message));
            }
        }
    }
    Ok(faults)
}

/// Returns the statements by which operators limit a service client or a key, including those of
/// the service client that owns the key. Returns `None` if there are none, and for a user.
fn find_operator_limit(
    tx: &mut Tx<'_>,
    principal: &Principal,
    organization: Option<&(OrganizationId, GenerationId)>,
) -> Result<Option<Vec<EffectiveStatement>>, StoreError> {
    let client = match principal {
        Principal::User(..) => return Ok(None),
        Principal::ServiceClient(_) => None,
        Principal::ApiKey(id) => find_owning_client(tx, id)?,
    };
    let ids: Vec<_> =
        [Some(principal.unique_id()), client.as_ref().map(ServiceClientId::as_str)].into_iter().flatten().collect();
    let organization = organization.map(|(id, generation_id)| (id, generation_id));
    let limit = find_statements_of_principals(tx, &ids, organization, &GrantedBy::Operators)?;
    Ok((!limit.is_empty()).then_some(limit))
}

fn find_owning_client(tx: &mut Tx<'_>, id: &KeyId) -> Result<Option<ServiceClientId>, StoreError> {
    let now = tx.now();
    Ok(store::api_keys::keys::find(tx, id, now)?.and_then(|key| match key.ownership.owner {
        Owner::ServiceClient(client) => Some(client),
        Owner::User(_) | Owner::Organization(_) | Owner::Unowned => None,
    }))
}

/// Returns whether an access record of an operator limits a service client.
pub(crate) fn is_limited_by_operator(
    tx: &mut Tx<'_>,
    client: &ServiceClientId,
    owner: &OwnerScope,
) -> Result<bool, StoreError> {
    Ok(!find_statements_in_scope(tx, &[client.as_str()], owner, &GrantedBy::Operators)?.is_empty())
}

/// Returns the statements that apply to a service client.
pub(crate) fn find_statements_of_client(
    tx: &mut Tx<'_>,
    client: &ServiceClientId,
    owner: &OwnerScope,
) -> Result<Vec<EffectiveStatement>, StoreError> {
    find_statements_in_scope(tx, &[client.as_str()], owner, &GrantedBy::Anyone)
}

/// Returns whether a key can do nothing on resources beyond those of the calling key.
pub(crate) fn is_within_key_access(
    tx: &mut Tx<'_>,
    own: &[EffectiveStatement],
    key: &KeyId,
    permissions: &PermissionSet,
) -> Result<bool, StoreError> {
    let statements = find_statements_of_key(tx, key)?;
    Ok(statements.iter().all(|statement| {
        let permissions = statement.permissions.intersection(permissions);
        permissions.is_empty()
            || statement.resources.iter().all(|pattern| grants_on_pattern(own, &permissions, pattern))
    }))
}

/// Returns the statements of the records that name one of the principals, in the tenant scope of an
/// owner.
fn find_statements_in_scope(
    tx: &mut Tx<'_>,
    principals: &[&str],
    owner: &OwnerScope,
    granted: &GrantedBy,
) -> Result<Vec<EffectiveStatement>, StoreError> {
    let Some(id) = owner.organization() else { return find_statements_of_principals(tx, principals, None, granted) };
    let Some(found) = store::directory::organizations::find(tx, id)? else { return Ok(Vec::new()) };
    find_statements_of_principals(tx, principals, Some((&found.id, &found.generation_id)), granted)
}

fn permissions_of(statement: &Statement, roles: &[Role]) -> PermissionSet {
    let roles = roles.iter().filter(|role| statement.roles.contains(&role.name));
    roles.flat_map(|role| role.permissions.iter()).cloned().collect()
}
