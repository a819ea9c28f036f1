//! Access records: which principals have which roles on which resources. A caller can grant only
//! roles whose permissions it holds.

pub mod requested;
mod scope;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, MAX_ADMINS, Principal, RecordAdmin, RecordVisibility},
            owner::OwnerScope,
            policy::Right,
        },
        common::{
            id::{AccessRecordId, OrganizationId},
            name::DisplayName,
            page::{Page, PageRequest},
        },
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::{
            access_records::{
                requested::{admins, collect_roles, not_held, principals, statements},
                scope::{refuse_key_as_caller, required_principal_home, resolve_record_scope},
            },
            visibility::authorize,
        },
        caller::Caller,
        common::{
            idempotency::{self, CreateOutcome, IdempotencyRequest},
            version::require_version,
        },
    },
    store::{self, NoEvent, Outcome, Tx},
};

pub(crate) use requested::lock_roles;
pub use requested::{RequestedPrincipal, RequestedStatement};
pub(crate) use scope::RecordScope;

/// Body of `POST /v1/access-records`.
#[derive(Debug, Clone)]
pub struct NewAccessRecord {
    pub name: DisplayName,
    /// Absent: the tenant scope of the caller.
    pub organization: Option<OrganizationId>,
    pub principals: Vec<RequestedPrincipal>,
    pub admins: Vec<String>,
    pub statements: Vec<RequestedStatement>,
}

/// Body of `PATCH /v1/access-records/{id}`. Absent members stay unchanged.
#[derive(Debug, Clone, Default)]
pub struct AccessRecordPatch {
    pub name: Option<DisplayName>,
    pub principals: Option<Vec<RequestedPrincipal>>,
    pub admins: Option<Vec<String>>,
    pub statements: Option<Vec<RequestedStatement>>,
}

/// Creates a record. The user that the caller acts on behalf of becomes an admin of it. All faults
/// are reported together.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewAccessRecord,
    once: Option<IdempotencyRequest>,
) -> Result<CreateOutcome<AccessRecord, AccessRecord>, Error> {
    let caller = caller.clone();
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::access::access_records::find(tx, &id.parse()?)?;
                let found = authorize(tx, &caller, found, Right::Read)?;
                return Ok(Outcome::without_event(CreateOutcome::Existing(found), NoEvent::AlreadyRecorded));
            }
            let spot = resolve_record_scope(tx, &caller, new.organization)?;
            let own = required_principal_home(&caller)?;
            let mut faults = Vec::new();
            let principals = principals(tx, spot.as_ref(), own.as_ref(), new.principals, &[], &mut faults)?;
            let admins = admins(tx, &caller, spot.as_ref(), new.admins, &[], &mut faults)?;
            let (record, event) = make(tx, &caller, spot, new.name, principals, admins, new.statements, faults)?;
            idempotency::record_created_object(tx, once.as_ref(), record.id.as_str())?;
            Ok(Outcome::event(CreateOutcome::New(record), event))
        })
        .await
}

/// A record that is created together with its only principal.
#[derive(Debug, Clone)]
pub struct InitialAccessRecord {
    pub name: DisplayName,
    pub statements: Vec<RequestedStatement>,
}

/// Creates the record in the tenant scope of its principal. The caller has locked the roles with
/// `lock_roles`.
pub(crate) fn first(
    tx: &mut Tx<'_>,
    caller: &Caller,
    home: &OwnerScope,
    principal: Principal,
    first: InitialAccessRecord,
) -> Result<(AccessRecord, NewEvent), Error> {
    let spot = match home.organization() {
        None => None,
        Some(id) => {
            let organization = store::directory::organizations::find(tx, id)?.ok_or(Error::NotFound("organization"))?;
            Some((organization.id, organization.generation_id))
        }
    };
    make(tx, caller, spot, first.name, vec![principal], Vec::new(), first.statements, Vec::new())
}

/// Creates a record for resolved principals within a transaction. `faults` are reported together
/// with those found here.
#[expect(clippy::too_many_arguments, reason = "the parts of a record, each from somewhere else")]
pub(crate) fn make(
    tx: &mut Tx<'_>,
    caller: &Caller,
    spot: RecordScope,
    name: DisplayName,
    principals: Vec<Principal>,
    mut admins: Vec<RecordAdmin>,
    asked: Vec<RequestedStatement>,
    mut faults: Vec<InputFault>,
) -> Result<(AccessRecord, NewEvent), Error> {
    refuse_key_as_caller(caller)?;
    let (statements, roles) = statements(tx, asked, &mut faults)?;
    faults.extend(not_held(caller, &roles, statements.iter().enumerate()));
    if let Some(OwnerScope::User { id, generation_id, .. }) = &caller.on_behalf_of {
        let author = RecordAdmin { user: id.clone(), generation_id: generation_id.clone() };
        if !admins.contains(&author) {
            admins.push(author);
        }
    }
    if admins.len() > MAX_ADMINS && !faults.iter().any(|fault| fault.field == "admins") {
        faults.push(InputFault::new("admins", format!("{MAX_ADMINS} at most, and you are one of them")));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let record = AccessRecord {
        id: tx.generate_id()?,
        name,
        organization: spot,
        principals,
        admins,
        statements,
        created_at: tx.now(),
        created_by: tx.creator(),
        version: 1,
    };
    store::access::access_records::insert(tx, &record)?;
    let event = event(EventType::AccessRecordCreated, &record);
    Ok((record, event))
}

/// A record outside the caller's reach is reported as `Error::NotFound`.
pub async fn get(services: &Services, caller: &Caller, id: AccessRecordId) -> Result<AccessRecord, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let found = store::access::access_records::find(connection, &id)?;
            authorize(connection, &caller, found, Right::Read)
        })
        .await
}

/// Lists the records that the caller may see.
pub async fn list(services: &Services, caller: &Caller, page: PageRequest) -> Result<Page<AccessRecord>, Error> {
    let caller = caller.clone();
    Ok(services
        .store
        .read(move |connection| {
            let visible = RecordVisibility::of(&caller.authority, caller.on_behalf_of.as_ref());
            store::access::access_records::list(connection, visible, &page)
        })
        .await?)
}

/// Changes a record. Adding a principal grants it every role of the record; changing a statement
/// grants the roles of that statement. The caller must hold what it grants.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: AccessRecordId,
    patch: AccessRecordPatch,
    if_version: Option<i64>,
) -> Result<AccessRecord, Error> {
    let caller = caller.clone();
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let mut record = lock_record(tx, &caller, &id, Right::Change)?;
            refuse_key_as_caller(&caller)?;
            require_version(record.version, if_version)?;
            let before = record.clone();
            let spot = before.organization.as_ref();
            let mut faults = Vec::new();
            if let Some(asked) = patch.principals {
                let own = required_principal_home(&caller)?;
                record.principals = principals(tx, spot, own.as_ref(), asked, &before.principals, &mut faults)?;
            }
            if let Some(asked) = patch.admins {
                record.admins = admins(tx, &caller, spot, asked, &before.admins, &mut faults)?;
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
                None => store::access::roles::find_many_for_update(tx, &collect_roles(&record.statements))?,
            };
            faults.extend(not_held(&caller, &roles, handed));
            if !faults.is_empty() {
                return Err(Error::Invalid(faults));
            }
            record.name = patch.name.unwrap_or(record.name);
            if record == before {
                return Ok(Outcome::without_event(record, NoEvent::Unchanged));
            }
            store::access::access_records::update(tx, &record)?;
            record.version += 1;
            let event = event(EventType::AccessRecordUpdated, &record);
            Ok(Outcome::event(record, event))
        })
        .await
}

pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: AccessRecordId,
    if_version: Option<i64>,
) -> Result<(), Error> {
    let caller = caller.clone();
    services
        .store
        .run_transaction(caller.origin.clone(), move |tx| {
            let record = lock_record(tx, &caller, &id, Right::End)?;
            require_version(record.version, if_version)?;
            store::access::access_records::delete(tx, &id)?;
            Ok(Outcome::event((), event(EventType::AccessRecordDeleted, &record)))
        })
        .await
}

fn lock_record(tx: &mut Tx<'_>, caller: &Caller, id: &AccessRecordId, right: Right) -> Result<AccessRecord, Error> {
    let found = store::access::access_records::find_for_update(tx, id)?;
    authorize(tx, caller, found, right)
}

fn event(kind: EventType, record: &AccessRecord) -> NewEvent {
    let principals = record.principals.iter().map(|one| format!("{}:{}", one.kind().as_str(), one.id()));
    NewEvent::new(kind, &record.id)
        .with_organization(record.organization_id())
        .with_data("principals", principals.collect::<Vec<_>>())
        .with_data("roles", collect_roles(&record.statements).to_string())
}
