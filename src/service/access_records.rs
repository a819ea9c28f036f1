//! Access records: who may have which roles over which resources. Nobody hands out a role whose permissions they do not hold.

use crate::{
    domain::{
        access::{
            AccessRecord, Admin, MAX_ADMINS, MAX_PRINCIPALS, MAX_RESOURCES, MAX_ROLES, MAX_STATEMENTS, Principal,
            PrincipalType, Reach, Statement,
        },
        event::{Actor, EventKind, NewEvent},
        id::{AccessRecordId, Incarnation, InvalidId, OrganizationId, UserId},
        name::DisplayName,
        page::{Page, PageRequest},
        policy::Place,
        resource::ResourcePattern,
        role::{Role, RoleName, RoleSet},
        standing::Home,
    },
    store::{self, Conn, Outcome, StoreError, Tx},
};

use super::{
    App, Error, Fault,
    caller::Caller,
    idempotency::{self, Created, Idempotency},
    places,
    version::require_version,
};

/// For whom a record is to be, as it was sent: so that all that is wrong with it can be told at once.
#[derive(Debug, Clone)]
pub struct PrincipalAsked {
    pub kind: PrincipalType,
    pub id: String,
}

/// A statement as it was sent.
#[derive(Debug, Clone)]
pub struct StatementAsked {
    pub roles: Vec<String>,
    pub resources: Vec<String>,
}

/// What `POST /v1/access-records` says.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub name: DisplayName,
    /// Absent: where the caller stands.
    pub organization: Option<OrganizationId>,
    pub principals: Vec<PrincipalAsked>,
    pub admins: Vec<String>,
    pub statements: Vec<StatementAsked>,
}

/// What `PATCH /v1/access-records/{id}` says; absent members stay as they are.
#[derive(Debug, Clone, Default)]
pub struct PatchRecord {
    pub name: Option<DisplayName>,
    pub principals: Option<Vec<PrincipalAsked>>,
    pub admins: Option<Vec<String>>,
    pub statements: Option<Vec<StatementAsked>>,
}

/// Where a record is: an organization in the incarnation it has now, or outside any.
pub(super) type Spot = Option<(OrganizationId, Incarnation)>;

const NOT_FOUND: Error = Error::NotFound("access record");

/// Makes a record. A user who makes one becomes an admin of it.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub async fn create(
    app: &App,
    caller: &Caller,
    new: NewRecord,
    once: Option<Idempotency>,
) -> Result<Created<AccessRecord, AccessRecord>, Error> {
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::access_records::find(tx, &id.parse()?)?.ok_or(NOT_FOUND)?;
                return Ok(Outcome::bookkeeping(Created::Replayed(found)));
            }
            let spot = spot_of_new(tx, &caller, new.organization)?;
            let own = own_alone(&caller)?;
            let mut faults = Vec::new();
            let principals = principals(tx, spot.as_ref(), own.as_ref(), new.principals, &[], &mut faults)?;
            let admins = admins(tx, spot.as_ref(), new.admins, &[], &mut faults)?;
            let (record, event) = make(tx, &caller, spot, new.name, principals, admins, new.statements, faults)?;
            idempotency::remember(tx, once.as_ref(), record.id.as_str())?;
            Ok(Outcome::event(Created::New(record), event))
        })
        .await
}

/// Makes a record for principals that are known, inside a change.
///
/// # Errors
/// `faults`, and whatever else is wrong with it.
#[expect(clippy::too_many_arguments, reason = "the parts of a record, each from somewhere else")]
pub(super) fn make(
    tx: &mut Tx<'_>,
    caller: &Caller,
    spot: Spot,
    name: DisplayName,
    principals: Vec<Principal>,
    mut admins: Vec<Admin>,
    asked: Vec<StatementAsked>,
    mut faults: Vec<Fault>,
) -> Result<(AccessRecord, NewEvent), Error> {
    let (statements, roles) = statements(tx, asked, &mut faults)?;
    faults.extend(not_held(caller, &roles, statements.iter().enumerate()));
    if let Some(Home::User { id, incarnation, .. }) = &caller.acts_as {
        let author = Admin { user: id.clone(), incarnation: incarnation.clone() };
        if !admins.contains(&author) {
            admins.push(author);
        }
    }
    if admins.len() > MAX_ADMINS && !faults.iter().any(|fault| fault.field == "admins") {
        faults.push(Fault::new("admins", format!("{MAX_ADMINS} at most, and you are one of them")));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let record = AccessRecord {
        id: tx.new_id()?,
        name,
        organization: spot,
        principals,
        admins,
        statements,
        created_at: tx.now(),
        created_by: tx.author(),
        version: 1,
    };
    store::access_records::insert(tx, &record)?;
    let event = event(EventKind::AccessRecordCreated, &record);
    Ok((record, event))
}

/// # Errors
/// No such record, or none that is the caller's to see.
pub async fn get(app: &App, caller: &Caller, id: AccessRecordId) -> Result<AccessRecord, Error> {
    let found = app.store.read(move |connection| store::access_records::find(connection, &id)).await?;
    found.filter(|record| reach(caller).includes(record)).ok_or(NOT_FOUND)
}

/// Those that the caller may see.
///
/// # Errors
/// The database does not answer.
pub async fn list(app: &App, caller: &Caller, page: PageRequest) -> Result<Page<AccessRecord>, Error> {
    let caller = caller.clone();
    Ok(app.store.read(move |connection| store::access_records::list(connection, reach(&caller), &page)).await?)
}

/// Changes a record. Who adds principals hands out every role of it; who changes a statement, the roles of that one.
///
/// # Errors
/// No such record, a newer version of it, and everything that is wrong with the change.
pub async fn patch(
    app: &App,
    caller: &Caller,
    id: AccessRecordId,
    patch: PatchRecord,
    if_version: Option<i64>,
) -> Result<AccessRecord, Error> {
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let mut record = found(tx, &caller, &id)?;
            require_version(record.version, if_version)?;
            let before = record.clone();
            let spot = before.organization.as_ref();
            let mut faults = Vec::new();
            if let Some(asked) = patch.principals {
                let own = own_alone(&caller)?;
                record.principals = principals(tx, spot, own.as_ref(), asked, &before.principals, &mut faults)?;
            }
            if let Some(asked) = patch.admins {
                record.admins = admins(tx, spot, asked, &before.admins, &mut faults)?;
            }
            let mut roles = None;
            if let Some(asked) = patch.statements {
                let (statements, known) = statements(tx, asked, &mut faults)?;
                (record.statements, roles) = (statements, Some(known));
            }
            let for_others = record.principals.iter().any(|principal| !before.principals.contains(principal));
            let handed: Vec<_> = (0..)
                .zip(&record.statements)
                .filter(|(_, statement)| for_others || !before.statements.contains(statement))
                .collect();
            let roles = match roles {
                Some(known) => known,
                None => store::roles::find_for_change(tx, &all_roles(&record.statements))?,
            };
            faults.extend(not_held(&caller, &roles, handed));
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            record.name = patch.name.unwrap_or(record.name);
            if record == before {
                return Ok(Outcome::bookkeeping(record));
            }
            store::access_records::update(tx, &record)?;
            record.version += 1;
            let event = event(EventKind::AccessRecordUpdated, &record);
            Ok(Outcome::event(record, event))
        })
        .await
}

/// # Errors
/// No such record, or a newer version of it.
pub async fn delete(app: &App, caller: &Caller, id: AccessRecordId, if_version: Option<i64>) -> Result<(), Error> {
    let caller = caller.clone();
    app.store
        .change(caller.origin.clone(), move |tx| {
            let record = found(tx, &caller, &id)?;
            require_version(record.version, if_version)?;
            store::access_records::delete(tx, &id)?;
            Ok(Outcome::event((), event(EventKind::AccessRecordDeleted, &record)))
        })
        .await
}

fn reach(caller: &Caller) -> Reach<'_> {
    Reach::of(&caller.authority, caller.acts_as.as_ref())
}

fn found(tx: &mut Tx<'_>, caller: &Caller, id: &AccessRecordId) -> Result<AccessRecord, Error> {
    let found = store::access_records::find_for_change(tx, id)?;
    found.filter(|record| reach(caller).includes(record)).ok_or(NOT_FOUND)
}

fn event(kind: EventKind, record: &AccessRecord) -> NewEvent {
    let principals = record.principals.iter().map(|one| format!("{}:{}", one.kind().as_str(), one.id()));
    NewEvent::new(kind, &record.id)
        .within(record.organization_id())
        .with("principals", principals.collect::<Vec<_>>())
        .with("roles", all_roles(&record.statements).to_string())
}

fn spot_of_new(connection: &mut Conn, caller: &Caller, asked: Option<OrganizationId>) -> Result<Spot, Error> {
    let nowhere = || Error::invalid("organization_id", "there is no such organization, or none where you stand");
    let wanted = match &caller.authority.place {
        Place::Everywhere => asked,
        Place::Inside { organization, .. } if asked.is_none() || asked == *organization => organization.clone(),
        Place::Inside { .. } => return Err(nowhere()),
    };
    let Some(id) = wanted else { return Ok(None) };
    let found = store::organizations::find(connection, &id)?.ok_or_else(nowhere)?;
    Ok(Some((found.id, found.incarnation)))
}

/// The user whose own a caller's principals have to be; nobody where the caller may name others as well.
fn own_alone(caller: &Caller) -> Result<Option<Home>, Error> {
    match (&caller.authority.place, &caller.acts_as) {
        (Place::Everywhere, _) => Ok(None),
        // It would say of itself what it may reach.
        (Place::Inside { .. }, _) if matches!(caller.origin.actor, Actor::Key(_)) && caller.limits.is_some() => {
            Err(Error::Forbidden("of a user (no key says what it may reach itself)"))
        }
        (Place::Inside { organization: Some(_), .. }, _) if caller.authority.holds("api-keys:manage") => Ok(None),
        (Place::Inside { .. }, Some(home)) if caller.authority.holds("user-api-keys:manage-self") => {
            Ok(Some(home.clone()))
        }
        (Place::Inside { .. }, _) => Err(Error::Forbidden("user-api-keys:manage-self")),
    }
}

/// The principals that were asked for, where the record is. One that was there before stays, though it may be gone by now.
fn principals(
    connection: &mut Conn,
    spot: Option<&(OrganizationId, Incarnation)>,
    own: Option<&Home>,
    asked: Vec<PrincipalAsked>,
    before: &[Principal],
    faults: &mut Vec<Fault>,
) -> Result<Vec<Principal>, Error> {
    if !(1..=MAX_PRINCIPALS).contains(&asked.len()) {
        faults.push(Fault::new("principals", format!("from 1 to {MAX_PRINCIPALS}")));
        return Ok(Vec::new());
    }
    let mut principals = Vec::new();
    for (position, asked) in asked.into_iter().enumerate() {
        let field = format!("principals[{position}]");
        let found = match principal(connection, spot, &asked) {
            Ok(found) => found,
            Err(Looked::Malformed(error)) => {
                faults.push(Fault::new(format!("{field}.id"), error.to_string()));
                continue;
            }
            Err(Looked::Failed(error)) => return Err(error.into()),
        };
        let earlier = before.iter().find(|one| one.kind() == asked.kind && one.id() == asked.id);
        let allowed = found.filter(|(found, home)| own.is_none_or(|own| own == home) || before.contains(found));
        match allowed.map(|(found, _)| found).or_else(|| earlier.cloned()) {
            Some(found) if principals.contains(&found) => {}
            Some(found) => principals.push(found),
            None => faults.push(Fault::new(
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

/// Why nothing was looked up.
enum Looked {
    Malformed(InvalidId),
    Failed(StoreError),
}

impl From<InvalidId> for Looked {
    fn from(error: InvalidId) -> Self {
        Self::Malformed(error)
    }
}

impl From<StoreError> for Looked {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A principal and who stands behind it, where the record is.
fn principal(
    connection: &mut Conn,
    spot: Option<&(OrganizationId, Incarnation)>,
    asked: &PrincipalAsked,
) -> Result<Option<(Principal, Home)>, Looked> {
    let organization = spot.map(|(id, _)| id);
    let found = match asked.kind {
        PrincipalType::User => {
            let id: UserId = asked.id.parse()?;
            let place = places::of_user(connection, &id, organization)?;
            place.and_then(|place| {
                let incarnation = place.home.incarnation()?.clone();
                Some((Principal::User(id, incarnation), place.home))
            })
        }
        PrincipalType::ServiceClient => {
            let found = store::service_clients::find(connection, &asked.id.parse()?)?;
            found.map(|client| (Principal::ServiceClient(client.id), client.home))
        }
        PrincipalType::ApiKey => {
            let id = asked.id.parse()?;
            let now = store::now(connection)?;
            let found = store::api_keys::find(connection, &id, now)?.filter(|key| key.archived_at.is_none());
            found.map(|key| (Principal::ApiKey(key.id), key.ownership.home))
        }
    };
    Ok(found.filter(|(_, home)| home.organization() == organization))
}

fn admins(
    connection: &mut Conn,
    spot: Option<&(OrganizationId, Incarnation)>,
    asked: Vec<String>,
    before: &[Admin],
    faults: &mut Vec<Fault>,
) -> Result<Vec<Admin>, Error> {
    if asked.len() > MAX_ADMINS {
        faults.push(Fault::new("admins", format!("{MAX_ADMINS} at most")));
        return Ok(Vec::new());
    }
    let mut admins = Vec::new();
    for (position, id) in asked.into_iter().enumerate() {
        let field = format!("admins[{position}]");
        let user: UserId = match id.parse() {
            Ok(user) => user,
            Err(error) => {
                faults.push(Fault::new(field, InvalidId::to_string(&error)));
                continue;
            }
        };
        let place = places::of_user(connection, &user, spot.map(|(id, _)| id))?;
        let found = place.and_then(|place| place.home.incarnation().cloned());
        let found = found.map(|incarnation| Admin { user: user.clone(), incarnation });
        match found.or_else(|| before.iter().find(|admin| admin.user == user).cloned()) {
            Some(admin) if admins.contains(&admin) => {}
            Some(admin) => admins.push(admin),
            None => faults.push(Fault::new(field, format!("there is no user {user} here"))),
        }
    }
    Ok(admins)
}

/// The statements that were asked for, and their roles: none of these can go until `tx` ends.
fn statements(
    tx: &mut Tx<'_>,
    asked: Vec<StatementAsked>,
    faults: &mut Vec<Fault>,
) -> Result<(Vec<Statement>, Vec<Role>), Error> {
    if !(1..=MAX_STATEMENTS).contains(&asked.len()) {
        faults.push(Fault::new("statements", format!("from 1 to {MAX_STATEMENTS}")));
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
    let roles = store::roles::find_for_change(tx, &all_roles(&statements))?;
    for (position, statement) in statements.iter().enumerate() {
        for name in statement.roles.iter().filter(|name| roles.iter().all(|role| role.name != **name)) {
            faults.push(Fault::new(format!("statements[{position}].roles"), format!("there is no role {name}")));
        }
    }
    Ok((statements, roles))
}

/// Each text read; what cannot be read is a fault, and not quoted: it may be anything.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    texts: &[String],
    most: usize,
    faults: &mut Vec<Fault>,
) -> Vec<T> {
    if !(1..=most).contains(&texts.len()) {
        faults.push(Fault::new(field, format!("from 1 to {most}")));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(one) => all.push(one),
            Err(error) => faults.push(Fault::new(format!("{field}[{position}]"), T::Err::to_string(&error))),
        }
    }
    all
}

fn all_roles(statements: &[Statement]) -> RoleSet {
    statements.iter().flat_map(|statement| statement.roles.iter().cloned()).collect()
}

/// What is wrong with handing out these statements: permissions of their roles that the caller does not hold.
fn not_held<'a>(
    caller: &Caller,
    roles: &[Role],
    statements: impl IntoIterator<Item = (usize, &'a Statement)>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (position, statement) in statements {
        for role in roles.iter().filter(|role| statement.roles.contains(&role.name)) {
            for permission in role.permissions.iter().filter(|name| !caller.holdings.hold(name)) {
                faults.push(Fault::new(
                    format!("statements[{position}].roles"),
                    format!("{} holds {permission}, which is not yours to hand out: you do not hold it", role.name),
                ));
            }
        }
    }
    faults
}
