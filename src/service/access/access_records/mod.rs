//! Access records: which principals have which roles on which resources. A caller can grant only
//! roles whose permissions it holds.

mod bounds;
pub mod requested;
mod scope;
mod types;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, MAX_ADMINS, Principal, RecordAdmin, RecordVisibility, Statement},
            owner::OwnerScope,
            policy::{ObjectRight, TenantScope},
        },
        common::{
            entropy::EntropyUnavailable,
            id::AccessRecordId,
            name::DisplayName,
            page::{Page, PageRequest},
            preconditions::Preconditions,
        },
        events::{EventType, NewEvent},
    },
    service::{
        Error, InputFault, Services,
        access::{
            access_records::{
                bounds::find_resource_faults,
                requested::{
                    RequestedStatement, collect_roles, find_grant_faults, resolve_admins, resolve_principals,
                    resolve_statements,
                },
                scope::{
                    RecordScope, refuse_key_as_caller, require_may_delete, require_may_grant, resolve_record_scope,
                },
            },
            visibility::authorize,
        },
        caller::Caller,
        common::{
            entry::{Entry, WriteResult, entry, require_existing},
            idempotency::{self, IdempotencyRequest, IdempotentOutcome},
        },
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
};

pub(crate) use bounds::{
    Grantor, find_addition_faults, find_statements_of_client, is_limited_by_operator, is_within_key_access,
};
pub(crate) use requested::lock_roles;
pub use types::{AccessRecordPatch, InitialAccessRecord, NewAccessRecord};

entry!(AccessRecord, "access record", store::access::access_records, |record, before| {
    event(before.map_or(EventType::AccessRecordCreated, |_| EventType::AccessRecordUpdated), record)
});

/// Creates a record. The user that the caller acts on behalf of becomes an admin of it. All faults
/// are reported together.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewAccessRecord,
    once: Option<IdempotencyRequest>,
) -> Result<IdempotentOutcome<AccessRecord, AccessRecord>, Error> {
    let settings = services.settings.access_records.clone();
    services
        .change(caller, move |tx, caller| {
            if let Some(id) = idempotency::earlier(tx, once.as_ref())? {
                let found = store::access::access_records::find(tx, &id.parse()?)?;
                let found = authorize(tx, caller, found, ObjectRight::Read)?;
                return Ok(Outcome::without_event(IdempotentOutcome::Existing(found), NoEvent::AlreadyRecorded));
            }
            let scope = resolve_record_scope(tx, caller, new.organization_id)?;
            let mut record = empty_record(tx, scope, new.name)?;
            require_may_grant(caller)?;
            let (organization, mut faults) = (record.organization_id(), Vec::new());
            let principals = resolve_principals(tx, (caller, organization), new.principals, &[], &mut faults)?;
            let admins = resolve_admins(tx, (caller, organization), new.admins, &[], &mut faults)?;
            (record.principals, record.admins) = (principals, admins);
            let (record, event) = insert(tx, Grantor { caller, settings: &settings }, record, new.statements, faults)?;
            idempotency::record_object(tx, once.as_ref(), record.id.as_str())?;
            Ok(Outcome::event(IdempotentOutcome::New(record), event))
        })
        .await
}

/// Creates the record in the tenant scope of its principal, which belongs to `owner`. The caller
/// has locked the roles with `lock_roles`.
pub(crate) fn create_initial(
    tx: &mut Tx<'_>,
    grantor: Grantor<'_>,
    owner: &OwnerScope,
    principal: Principal,
    new: InitialAccessRecord,
) -> Result<(AccessRecord, NewEvent), Error> {
    let scope = match owner.organization() {
        None => None,
        Some(id) => {
            let organization = store::directory::organizations::find(tx, id)?.ok_or(Error::NotFound("organization"))?;
            Some((organization.id, organization.generation_id))
        }
    };
    let record = AccessRecord { principals: vec![principal], ..empty_record(tx, scope, new.name)? };
    insert(tx, grantor, record, new.statements, Vec::new())
}

fn empty_record(tx: &Tx<'_>, scope: RecordScope, name: DisplayName) -> Result<AccessRecord, EntropyUnavailable> {
    Ok(AccessRecord {
        id: tx.generate_id()?,
        name,
        organization: scope,
        principals: Vec::new(),
        admins: Vec::new(),
        statements: Vec::new(),
        created_at: tx.now(),
        created_by: tx.creator(),
        granted_by: tx.creator(),
        version: 1,
    })
}

/// Inserts a record with these statements. `faults` are reported together with those found here.
fn insert(
    tx: &mut Tx<'_>,
    grantor: Grantor<'_>,
    mut record: AccessRecord,
    statements: Vec<RequestedStatement>,
    mut faults: Vec<InputFault>,
) -> Result<(AccessRecord, NewEvent), Error> {
    let caller = grantor.caller;
    refuse_key_as_caller(caller)?;
    let (statements, roles) = resolve_statements(tx, statements, &mut faults)?;
    record.statements = statements;
    faults.extend(find_grant_faults(caller, &roles, record.statements.iter().enumerate()));
    faults.extend(find_resource_faults(tx, grantor, &roles, None, &record)?);
    if let Some(OwnerScope::User { id, generation_id, .. }) = &caller.user_scope {
        let author = RecordAdmin { user: id.clone(), generation_id: generation_id.clone() };
        if !record.admins.contains(&author) {
            record.admins.push(author);
        }
    }
    if record.admins.len() > MAX_ADMINS {
        faults.push(InputFault::new("admins", format!("must have at most {MAX_ADMINS} entries, including yourself")));
    }
    Error::if_any(faults)?;
    store::access::access_records::insert(tx, &record)?;
    let event = record.event(None);
    Ok((record, event))
}

/// A record that the caller may not see is reported as `Error::NotFound`.
pub async fn get(services: &Services, caller: &Caller, id: AccessRecordId) -> Result<AccessRecord, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let found = store::access::access_records::find(connection, &id)?;
            authorize(connection, &caller, found, ObjectRight::Read)
        })
        .await
}

/// Lists the records that the caller may see.
pub async fn list(services: &Services, caller: &Caller, page: PageRequest) -> Result<Page<AccessRecord>, Error> {
    let caller = caller.clone();
    Ok(services
        .store
        .read(move |connection| {
            let visible = RecordVisibility::of(&caller.authority, caller.user_scope.as_ref());
            store::access::access_records::list(connection, visible, &page)
        })
        .await?)
}

/// Changes a record. Adding a principal grants it every role of the record; changing a statement
/// grants the roles of that statement. The caller must be able to grant them.
pub async fn patch(
    services: &Services,
    caller: &Caller,
    id: AccessRecordId,
    patch: AccessRecordPatch,
    preconditions: Preconditions,
) -> Result<AccessRecord, Error> {
    let settings = services.settings.access_records.clone();
    services
        .change(caller, move |tx, caller| {
            let before = lock_record(tx, caller, &id, ObjectRight::Change)?;
            refuse_key_as_caller(caller)?;
            let before = require_existing(Some(before), &preconditions)?;
            let after = resolve_patch(tx, Grantor { caller, settings: &settings }, &before, patch)?;
            WriteResult::of(Some(&before), after).write_outcome(tx)
        })
        .await
}

/// Returns the record after the patch, or every fault of the patch.
fn resolve_patch(
    tx: &mut Tx<'_>,
    grantor: Grantor<'_>,
    before: &AccessRecord,
    patch: AccessRecordPatch,
) -> Result<AccessRecord, Error> {
    let caller = grantor.caller;
    let (mut after, mut faults) = (before.clone(), Vec::new());
    let organization = before.organization_id();
    if let Some(principals) = patch.principals {
        require_may_grant(caller)?;
        after.principals = resolve_principals(tx, (caller, organization), principals, &before.principals, &mut faults)?;
    }
    if let Some(admins) = patch.admins {
        after.admins = resolve_admins(tx, (caller, organization), admins, &before.admins, &mut faults)?;
    }
    let roles = if let Some(statements) = patch.statements {
        let (statements, roles) = resolve_statements(tx, statements, &mut faults)?;
        after.statements = statements;
        roles
    } else {
        store::access::roles::find_many_for_update(tx, &collect_roles(&after.statements))?
    };
    let adds_principal = after.principals.iter().any(|principal| !before.principals.contains(principal));
    let is_granted = |statement: &&Statement| adds_principal || !before.statements.contains(statement);
    let granted = after.statements.iter().enumerate().filter(|(_, statement)| is_granted(statement));
    faults.extend(find_grant_faults(caller, &roles, granted));
    faults.extend(find_resource_faults(tx, grantor, &roles, Some(before), &after)?);
    Error::if_any(faults)?;
    let is_changed = (&after.principals, &after.statements) != (&before.principals, &before.statements);
    if is_changed && caller.authority.tenant_scope == TenantScope::Account {
        after.granted_by = tx.creator();
    }
    after.name = patch.name.unwrap_or(after.name);
    Ok(after)
}

pub async fn delete(
    services: &Services,
    caller: &Caller,
    id: AccessRecordId,
    preconditions: Preconditions,
) -> Result<(), Error> {
    services
        .end_access(caller, move |tx, caller| {
            let record = lock_record(tx, caller, &id, ObjectRight::End)?;
            require_may_delete(caller, &record)?;
            let record = require_existing(Some(record), &preconditions)?;
            store::access::access_records::delete(tx, &record)?;
            Ok(Outcome::event((), event(EventType::AccessRecordDeleted, &record)))
        })
        .await
}

fn lock_record(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: &AccessRecordId,
    right: ObjectRight,
) -> Result<AccessRecord, Error> {
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
