//! Validates the members of a requested access record: principals and admins that exist in its
//! tenant scope, roles that exist, and resource patterns that parse.

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
        common::id::{GenerationId, InvalidId, OrganizationId, UserId},
    },
    service::{Error, InputFault, access::owners, caller::Caller},
    store::{self, Conn, StoreError, Tx},
};

/// A requested principal, not yet parsed, so that all faults of a request are reported together.
#[derive(Debug, Clone)]
pub struct RequestedPrincipal {
    pub kind: PrincipalType,
    pub id: String,
}

/// A requested statement, not yet parsed.
#[derive(Debug, Clone)]
pub struct RequestedStatement {
    pub roles: Vec<String>,
    pub resources: Vec<String>,
}

/// Resolves the requested principals in the tenant scope of the record. A principal that is already
/// on the record is kept, even if it was deleted since.
pub(crate) fn principals(
    connection: &mut Conn,
    spot: Option<&(OrganizationId, GenerationId)>,
    own: Option<&OwnerScope>,
    asked: Vec<RequestedPrincipal>,
    before: &[Principal],
    faults: &mut Vec<InputFault>,
) -> Result<Vec<Principal>, Error> {
    if !(1..=MAX_PRINCIPALS).contains(&asked.len()) {
        faults.push(InputFault::new("principals", format!("from 1 to {MAX_PRINCIPALS}")));
        return Ok(Vec::new());
    }
    let mut principals = Vec::new();
    for (position, asked) in asked.into_iter().enumerate() {
        let field = format!("principals[{position}]");
        let found = match find_principal(connection, spot, &asked) {
            Ok(found) => found,
            Err(PrincipalLookupError::Malformed(error)) => {
                faults.push(InputFault::new(format!("{field}.id"), error.to_string()));
                continue;
            }
            Err(PrincipalLookupError::Failed(error)) => return Err(error.into()),
        };
        let earlier = before.iter().find(|one| one.kind() == asked.kind && one.id() == asked.id);
        let allowed = found.filter(|(found, home)| own.is_none_or(|own| own == home) || before.contains(found));
        match allowed.map(|(found, _)| found).or_else(|| earlier.cloned()) {
            Some(found) if principals.contains(&found) => {}
            Some(found) => principals.push(found),
            None => faults.push(InputFault::new(
                field,
                format!(
                    "there is no {} {} here, or none that is yours to name",
                    asked.kind.as_str().replace('_', " "),
                    asked.id
                ),
            )),
        }
    }
    Ok(principals)
}

/// Why a principal lookup failed.
enum PrincipalLookupError {
    Malformed(InvalidId),
    Failed(StoreError),
}

impl From<InvalidId> for PrincipalLookupError {
    fn from(error: InvalidId) -> Self {
        Self::Malformed(error)
    }
}

impl From<StoreError> for PrincipalLookupError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Loads a principal and its home. Returns `None` if the home is not in the tenant scope of the
/// record.
fn find_principal(
    connection: &mut Conn,
    spot: Option<&(OrganizationId, GenerationId)>,
    asked: &RequestedPrincipal,
) -> Result<Option<(Principal, OwnerScope)>, PrincipalLookupError> {
    let organization = spot.map(|(id, _)| id);
    let found = match asked.kind {
        PrincipalType::User => {
            let id: UserId = asked.id.parse()?;
            let place = owners::of_user(connection, &id, organization)?;
            place.and_then(|place| {
                let generation_id = place.home.generation_id()?.clone();
                Some((Principal::User(id, generation_id), place.home))
            })
        }
        PrincipalType::ServiceClient => {
            let found = store::api_keys::service_clients::find(connection, &asked.id.parse()?)?;
            found.map(|client| (Principal::ServiceClient(client.id), client.home))
        }
        PrincipalType::ApiKey => {
            let id = asked.id.parse()?;
            let now = store::now(connection)?;
            let found = store::api_keys::keys::find(connection, &id, now)?.filter(|key| key.archived_at.is_none());
            found.map(|key| (Principal::ApiKey(key.id), key.ownership.home))
        }
    };
    Ok(found.filter(|(_, home)| home.organization() == organization))
}

pub(crate) fn admins(
    connection: &mut Conn,
    caller: &Caller,
    spot: Option<&(OrganizationId, GenerationId)>,
    asked: Vec<String>,
    before: &[RecordAdmin],
    faults: &mut Vec<InputFault>,
) -> Result<Vec<RecordAdmin>, Error> {
    if asked.len() > MAX_ADMINS {
        faults.push(InputFault::new("admins", format!("{MAX_ADMINS} at most")));
        return Ok(Vec::new());
    }
    let mut admins = Vec::new();
    for (position, id) in asked.into_iter().enumerate() {
        let field = format!("admins[{position}]");
        let user: UserId = match id.parse() {
            Ok(user) => user,
            Err(error) => {
                faults.push(InputFault::new(field, InvalidId::to_string(&error)));
                continue;
            }
        };
        let place = if may_name_user(caller, &user) {
            owners::of_user(connection, &user, spot.map(|(id, _)| id))?
        } else {
            None
        };
        let found = place.and_then(|place| place.home.generation_id().cloned());
        let found = found.map(|generation_id| RecordAdmin { user: user.clone(), generation_id });
        match found.or_else(|| before.iter().find(|admin| admin.user == user).cloned()) {
            Some(admin) if admins.contains(&admin) => {}
            Some(admin) => admins.push(admin),
            None => faults.push(InputFault::new(field, format!("there is no user {user} here"))),
        }
    }
    Ok(admins)
}

/// Outside any organization, a user may name only themselves: the response would disclose which
/// other users exist.
fn may_name_user(caller: &Caller, user: &UserId) -> bool {
    match &caller.authority.tenant_scope {
        TenantScope::Tenant { organization: None, user: own } => own.as_ref() == Some(user),
        TenantScope::Tenant { organization: Some(_), .. } | TenantScope::Deployment => true,
    }
}

/// Locks the requested roles for a transaction that locks permissions before it parses the
/// statements: every transaction locks roles first. Malformed role names are skipped here and
/// reported by `statements`.
pub(crate) fn lock_roles(tx: &mut Tx<'_>, asked: &[RequestedStatement]) -> Result<(), StoreError> {
    let names = asked.iter().flat_map(|statement| &statement.roles).take(MAX_STATEMENTS * MAX_ROLES);
    store::access::roles::find_many_for_update(tx, &names.filter_map(|name| name.parse().ok()).collect())?;
    Ok(())
}

/// Parses the requested statements and locks their roles, which cannot be deleted until `tx` ends.
pub(crate) fn statements(
    tx: &mut Tx<'_>,
    asked: Vec<RequestedStatement>,
    faults: &mut Vec<InputFault>,
) -> Result<(Vec<Statement>, Vec<Role>), Error> {
    if !(1..=MAX_STATEMENTS).contains(&asked.len()) {
        faults.push(InputFault::new("statements", format!("from 1 to {MAX_STATEMENTS}")));
        return Ok((Vec::new(), Vec::new()));
    }
    let mut statements = Vec::new();
    for (position, asked) in asked.into_iter().enumerate() {
        let at = |member: &str| format!("statements[{position}].{member}");
        let roles = parsed::<RoleName>(&at("roles"), &asked.roles, MAX_ROLES, faults);
        let mut resources = parsed::<ResourcePattern>(&at("resources"), &asked.resources, MAX_RESOURCES, faults);
        let mut seen = std::collections::BTreeSet::new();
        resources.retain(|pattern| seen.insert(pattern.clone()));
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

/// Parses each text. An invalid text is reported by its position and not quoted, because it may
/// contain anything, including secrets.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    texts: &[String],
    most: usize,
    faults: &mut Vec<InputFault>,
) -> Vec<T> {
    if !(1..=most).contains(&texts.len()) {
        faults.push(InputFault::new(field, format!("from 1 to {most}")));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(one) => all.push(one),
            Err(error) => faults.push(InputFault::new(format!("{field}[{position}]"), T::Err::to_string(&error))),
        }
    }
    all
}

pub(crate) fn collect_roles(statements: &[Statement]) -> RoleSet {
    statements.iter().flat_map(|statement| statement.roles.iter().cloned()).collect()
}

/// Faults of granting these statements: permissions of their roles that the caller does not hold.
pub(crate) fn not_held<'a>(
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
                    format!("{} holds {permission}, which is not yours to hand out: you do not hold it", role.name),
                ));
            }
        }
    }
    faults
}
