//! Resolves the members of a requested access record: principals and admins that exist in its
//! tenant scope, roles that exist, and resource patterns that parse.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::{
            access_record::{
                MAX_ADMINS, MAX_PRINCIPALS, MAX_RESOURCES, MAX_ROLES, MAX_STATEMENTS, Principal, PrincipalType,
                RecordAdmin, Statement,
            },
            owner::OwnerScope,
            policy::TenantScope,
            resource::ResourcePattern,
            role::{Role, RoleName, RoleSet},
        },
        common::id::{OrganizationId, UserId},
    },
    service::{
        Error, InputFault,
        access::{access_records::scope::may_name_as_principal, owners, visibility::OwnedObject},
        caller::Caller,
    },
    store::{self, Conn, StoreError, Tx},
};

/// A principal of an access record.
// Not yet parsed, so that all faults of a request are reported together.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = NewPrincipal)]
#[serde(deny_unknown_fields)]
pub struct RequestedPrincipal {
    #[serde(rename = "type")]
    pub kind: PrincipalType,
    #[schema(pattern = "^[ -)+-~]{1,255}$", example = "auth0|alice")]
    pub id: String,
}

/// Roles and the resources to which they apply.
// Not yet parsed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = NewStatement)]
#[serde(deny_unknown_fields)]
pub struct RequestedStatement {
    #[schema(value_type = Vec<RoleName>, min_items = 1, max_items = 16)]
    pub roles: Vec<String>,
    #[schema(value_type = Vec<ResourcePattern>, min_items = 1, max_items = 32)]
    pub resources: Vec<String>,
}

/// Resolves the requested principals in the organization of the record, or outside any. A principal
/// of `before` is kept, even if it was deleted since.
pub(super) fn resolve_principals(
    connection: &mut Conn,
    (caller, organization): (&Caller, Option<&OrganizationId>),
    requested: Vec<RequestedPrincipal>,
    before: &[Principal],
    faults: &mut Vec<InputFault>,
) -> Result<Vec<Principal>, Error> {
    resolve_each("principals", requested, 1..=MAX_PRINCIPALS, faults, |requested| {
        let found = find_principal(connection, caller, organization, &requested)?;
        let allowed = found.filter(|found| found.may_be_named || before.contains(&found.principal));
        let earlier = || before.iter().find(|one| one.kind() == requested.kind && one.id() == requested.id).cloned();
        allowed.map(|found| found.principal).or_else(earlier).ok_or_else(|| {
            let kind = requested.kind.as_str().replace('_', " ");
            Error::invalid("", format!("there is no {kind} {} here that you may name", requested.id))
        })
    })
}

/// A principal that exists, and whether the caller may name it.
struct FoundPrincipal {
    principal: Principal,
    owner_scope: OwnerScope,
    may_be_named: bool,
}

/// Finds a principal. Returns `None` if its owner is not in `organization`. A service client or key
/// may be named by a caller that may change it.
fn find_principal(
    connection: &mut Conn,
    caller: &Caller,
    organization: Option<&OrganizationId>,
    requested: &RequestedPrincipal,
) -> Result<Option<FoundPrincipal>, Error> {
    let found = match requested.kind {
        PrincipalType::User => {
            let id: UserId = parse(".id", &requested.id)?;
            owners::find_user(connection, &id, organization)?.and_then(|entry| {
                let principal = Principal::User(id, entry.owner_scope.generation_id()?.clone());
                let may_be_named = may_name_as_principal(caller, &entry.owner_scope);
                Some(FoundPrincipal { principal, owner_scope: entry.owner_scope, may_be_named })
            })
        }
        PrincipalType::ServiceClient => {
            match store::api_keys::service_clients::find(connection, &parse(".id", &requested.id)?)? {
                Some(client) => {
                    let may_be_named = client.rights(connection, caller)?.change;
                    let principal = Principal::ServiceClient(client.id);
                    Some(FoundPrincipal { principal, owner_scope: client.owner_scope, may_be_named })
                }
                None => None,
            }
        }
        PrincipalType::ApiKey => {
            let (id, now) = (parse(".id", &requested.id)?, store::now(connection)?);
            let found = store::api_keys::keys::find(connection, &id, now)?.filter(|key| key.archived_at.is_none());
            match found {
                Some(key) => {
                    let may_be_named = key.rights(connection, caller)?.change;
                    let (principal, owner_scope) = (Principal::ApiKey(key.id), key.ownership.owner_scope);
                    Some(FoundPrincipal { principal, owner_scope, may_be_named })
                }
                None => None,
            }
        }
    };
    Ok(found.filter(|found| found.owner_scope.organization() == organization))
}

/// Resolves the requested admins. An admin of `before` is kept, even if the user was deleted since.
pub(super) fn resolve_admins(
    connection: &mut Conn,
    (caller, organization): (&Caller, Option<&OrganizationId>),
    requested: Vec<String>,
    before: &[RecordAdmin],
    faults: &mut Vec<InputFault>,
) -> Result<Vec<RecordAdmin>, Error> {
    resolve_each("admins", requested, 0..=MAX_ADMINS, faults, |id| {
        let user: UserId = parse("", &id)?;
        let entry =
            if may_name_user(caller, &user) { owners::find_user(connection, &user, organization)? } else { None };
        let found = entry.and_then(|entry| entry.owner_scope.generation_id().cloned());
        let found = found.map(|generation_id| RecordAdmin { user: user.clone(), generation_id });
        let earlier = || before.iter().find(|admin| admin.user == user).cloned();
        found.or_else(earlier).ok_or_else(|| Error::invalid("", format!("there is no user {user} here")))
    })
}

/// Outside any organization, a user may name only themselves: the response would disclose which
/// other users exist.
fn may_name_user(caller: &Caller, user: &UserId) -> bool {
    match &caller.authority.tenant_scope {
        TenantScope::Tenant { organization: None, user: own } => own.as_ref() == Some(user),
        TenantScope::Tenant { organization: Some(_), .. } | TenantScope::Account => true,
    }
}

/// Locks the requested roles for a transaction that locks permissions before it parses the
/// statements: roles are locked after the owner and before permissions. Malformed role names are
/// skipped here and reported by `resolve_statements`.
pub(crate) fn lock_roles(tx: &mut Tx<'_>, requested: &[RequestedStatement]) -> Result<(), StoreError> {
    // What exceeds a maximum is refused before its roles are locked.
    let names = requested.iter().take(MAX_STATEMENTS).flat_map(|statement| statement.roles.iter().take(MAX_ROLES));
    store::access::roles::find_many_for_update(tx, &names.filter_map(|name| name.parse().ok()).collect())?;
    Ok(())
}

/// Parses the requested statements and locks their roles, which cannot be deleted until `tx` ends.
pub(super) fn resolve_statements(
    tx: &mut Tx<'_>,
    requested: Vec<RequestedStatement>,
    faults: &mut Vec<InputFault>,
) -> Result<(Vec<Statement>, Vec<Role>), Error> {
    if !require_count("statements", requested.len(), 1..=MAX_STATEMENTS, faults) {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut statements = Vec::new();
    for (position, RequestedStatement { roles, resources }) in requested.into_iter().enumerate() {
        let at = |member: &str| format!("statements[{position}].{member}");
        let roles: Vec<RoleName> = resolve_each(&at("roles"), roles, 1..=MAX_ROLES, faults, |name| parse("", &name))?;
        let resources: Vec<ResourcePattern> =
            resolve_each(&at("resources"), resources, 1..=MAX_RESOURCES, faults, |pattern| parse("", &pattern))?;
        statements.push(Statement { roles: roles.into_iter().collect(), resources });
    }
    let roles = store::access::roles::find_many_for_update(tx, &collect_roles(&statements))?;
    for (position, statement) in statements.iter().enumerate() {
        for name in statement.roles.iter().filter(|name| roles.iter().all(|role| role.name != **name)) {
            faults.push(InputFault::new(format!("statements[{position}].roles"), format!("there is no role {name}")));
        }
    }
    Ok((statements, roles))
}

/// Resolves each element of a list, and reports its faults by its position. Duplicates are omitted.
fn resolve_each<R, T: PartialEq>(
    field: &str,
    requested: Vec<R>,
    count: RangeInclusive<usize>,
    faults: &mut Vec<InputFault>,
    mut resolve: impl FnMut(R) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut resolved = Vec::new();
    if !require_count(field, requested.len(), count, faults) {
        return Ok(resolved);
    }
    for (position, element) in requested.into_iter().enumerate() {
        let element = resolve(element).map_err(|error| error.prefix_fields(&format!("{field}[{position}]")));
        if let Some(element) = Error::collect(element, faults)?
            && !resolved.contains(&element)
        {
            resolved.push(element);
        }
    }
    Ok(resolved)
}

fn require_count(field: &str, found: usize, count: RangeInclusive<usize>, faults: &mut Vec<InputFault>) -> bool {
    let is_within = count.contains(&found);
    if !is_within {
        faults.push(InputFault::new(field, format!("must have {} to {} entries", count.start(), count.end())));
    }
    is_within
}

/// An invalid text is not quoted, because it may contain anything, including secrets.
fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: T::Err| Error::invalid(field, error.to_string()))
}

pub(super) fn collect_roles(statements: &[Statement]) -> RoleSet {
    statements.iter().flat_map(|statement| statement.roles.iter().cloned()).collect()
}

/// Faults of granting these statements: permissions of their roles that the caller cannot grant.
pub(super) fn find_grant_faults<'a>(
    caller: &Caller,
    roles: &[Role],
    statements: impl IntoIterator<Item = (usize, &'a Statement)>,
) -> Vec<InputFault> {
    let mut faults = Vec::new();
    for (position, statement) in statements {
        for role in roles.iter().filter(|role| statement.roles.contains(&role.name)) {
            for permission in role.permissions.iter().filter(|name| !caller.holdings.can_grant(name)) {
                faults.push(InputFault::new(
                    format!("statements[{position}].roles"),
                    format!("you cannot grant {permission} of the role {}, because you do not have it", role.name),
                ));
            }
        }
    }
    faults
}
