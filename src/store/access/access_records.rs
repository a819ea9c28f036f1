//! Access records. Their principals, admins and statements are stored in tables of their own.

use serde_json::json;

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, RecordVisibility},
            role::RoleName,
        },
        common::{
            id::{AccessRecordId, GenerationId, OrganizationId},
            page::{Page, PageRequest},
        },
    },
    store::{
        access::stored_access_record::{AccessRecordRow, StoredAccessRecord},
        column_types::ResourcePatterns,
        dialect::bulk::{self, BulkTable},
        prelude::*,
        row_encryption::AuthenticatedRow,
        row_versions,
        schema::{
            access_record_admins, access_record_parts, access_record_principals, access_record_statement_roles,
            access_record_statements, access_records, organizations,
        },
    },
};

/// Returns the subject of the events of a record.
fn subject(id: &AccessRecordId) -> String {
    format!("access_record:{id}")
}

pub fn insert(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    tx.versions.insert(subject(&record.id), record.version);
    let organization = record.organization.as_ref();
    let tag = tx.encrypt(&record.encode(), &[])?;
    diesel::insert_into(access_records::table)
        .values(values!(access_records, record =>
            id, name, organization_id = organization.map(|(id, _)| id),
            generation_id = organization.map(|(_, generation_id)| generation_id), created_at, created_by,
            granted_by, version, tag = tag.bytes, master_version = tag.master_version,
        ))
        .execute_in(tx)?;
    insert_parts(tx, record)
}

/// Writes back a record with its parts. A record that was modified has the next version.
pub fn update(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    tx.versions.insert(subject(&record.id), record.version);
    let tag = tx.encrypt(&record.encode(), &[])?;
    diesel::update(access_records::table.find(&record.id))
        .set(values!(access_records, record =>
            name, granted_by, version, tag = tag.bytes, master_version = tag.master_version,
        ))
        .execute_in(tx)?;
    delete_parts(tx, &record.id)?;
    insert_parts(tx, record)
}

pub fn delete(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    tx.versions.insert(subject(&record.id), record.version + 1);
    delete_rows(tx, &record.id)
}

fn delete_rows(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    delete_parts(tx, id)?;
    diesel::delete(access_records::table.find(id)).execute_in(tx)
}

/// Deletes the records of deleted organizations that use a role, so that the role can be deleted
/// without altering them.
pub(crate) fn delete_orphaned_with_role(tx: &mut Tx<'_>, role: &RoleName) -> Result<(), StoreError> {
    let with_role = access_record_statement_roles::table
        .filter(access_record_statement_roles::role.eq(role))
        .select(access_record_statement_roles::record_id);
    let orphaned: Vec<AccessRecordId> = access_records::table
        .filter(diesel::dsl::not(organization_generation_matches!()))
        .filter(access_records::id.eq_any(with_role))
        .select(access_records::id)
        .load_all(tx)?;
    orphaned.iter().try_for_each(|id| delete_rows(tx, id))
}

/// Deletes up to `most` records of deleted organizations and returns how many were deleted.
pub fn delete_orphaned(tx: &mut Tx<'_>, most: i64) -> Result<usize, StoreError> {
    let left: Vec<AccessRecordId> = access_records::table
        .filter(diesel::dsl::not(organization_generation_matches!()))
        .select(access_records::id)
        .limit(most)
        .load_all(tx)?;
    for id in &left {
        delete_rows(tx, id)?;
    }
    Ok(left.len())
}

fn delete_parts(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    diesel::delete(access_record_principals::table.filter(access_record_principals::record_id.eq(id)))
        .execute_in(tx)?;
    diesel::delete(access_record_admins::table.filter(access_record_admins::record_id.eq(id))).execute_in(tx)?;
    diesel::delete(access_record_statements::table.filter(access_record_statements::record_id.eq(id))).execute_in(tx)
}

const STATEMENT_ROLES: BulkTable = BulkTable {
    table: "access_record_statement_roles",
    read_from: "access_record_statement_roles",
    columns: &["record_id", "position", "role"],
    key: 2,
    on_conflict: "",
};

fn insert_parts(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    let id = &record.id;
    for (position, principal) in (0_i32..).zip(&record.principals) {
        diesel::insert_into(access_record_principals::table)
            .values((
                access_record_principals::record_id.eq(id),
                access_record_principals::unique_id.eq(principal.unique_id()),
                access_record_principals::kind.eq(principal.kind()),
                access_record_principals::principal_id.eq(principal.id()),
                access_record_principals::position.eq(position),
            ))
            .execute_in(tx)?;
    }
    for (position, admin) in (0_i32..).zip(&record.admins) {
        diesel::insert_into(access_record_admins::table)
            .values((
                access_record_admins::record_id.eq(id),
                access_record_admins::generation_id.eq(&admin.generation_id),
                access_record_admins::user_id.eq(&admin.user),
                access_record_admins::position.eq(position),
            ))
            .execute_in(tx)?;
    }
    for (position, statement) in (0_i32..).zip(&record.statements) {
        diesel::insert_into(access_record_statements::table)
            .values((
                access_record_statements::record_id.eq(id),
                access_record_statements::position.eq(position),
                access_record_statements::resources.eq(ResourcePatterns(statement.resources.clone())),
            ))
            .execute_in(tx)?;
        let role_row = |role| json!({ "record_id": id, "position": position, "role": role });
        bulk::upsert_rows(tx, &STATEMENT_ROLES, &statement.roles.iter().map(role_row).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Records with their parts.
macro_rules! records_query {
    () => {
        access_records::table
            .inner_join(access_record_parts::table.on(access_record_parts::record_id.eq(access_records::id)))
            .select(AccessRecordRow::as_select())
    };
}

fn load(found: Vec<AccessRecordRow>) -> Result<Vec<StoredAccessRecord>, StoreError> {
    found.into_iter().map(StoredAccessRecord::try_from).collect()
}

/// Finds a record, unless its organization was deleted. An organization that was created again with
/// the same id does not bring its records back.
pub fn find(connection: &mut Conn, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    Ok(find_stored(connection, id)?.map(|stored| stored.record))
}

fn find_stored(connection: &mut Conn, id: &AccessRecordId) -> Result<Option<StoredAccessRecord>, StoreError> {
    let row: Option<AccessRecordRow> = records_query!()
        .filter(access_records::id.eq(id))
        .filter(organization_generation_matches!())
        .load_first(connection)?;
    row.map(StoredAccessRecord::try_from).transpose()
}

/// Like `find`, but locks the record until the end of the change. Returns `StoreError::Altered` if
/// it was altered outside of Keyswap, and `StoreError::OlderVersion` if an older one was put back.
pub fn find_for_update(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    lock_row!(tx, access_records, id);
    let Some(stored) = find_stored(tx, id)? else { return Ok(None) };
    stored.verify(tx)?;
    row_versions::require_newest_version(tx, "access_records", id.as_str(), subject(id), stored.record.version)?;
    Ok(Some(stored.record))
}

/// Returns records with these ids, to be checked.
pub fn find_to_check(connection: &mut Conn, ids: &[String]) -> Result<Vec<AuthenticatedRow>, StoreError> {
    let found: Vec<AccessRecordRow> = records_query!().filter(access_records::id.eq_any(ids)).load_all(connection)?;
    let to_check = |stored: StoredAccessRecord| AuthenticatedRow {
        id: stored.record.id.to_string(),
        encoded: stored.encode(),
        subject: subject(&stored.record.id),
        version: stored.record.version,
        encrypted: stored.tag,
    };
    Ok(load(found)?.into_iter().map(to_check).collect())
}

/// Returns the records that name one of these principals, either within the given generation of an
/// organization or outside any organization, whether Keyswap has written them or not.
pub fn find_of_principals(
    connection: &mut Conn,
    unique_ids: &[&str],
    organization: Option<(&OrganizationId, &GenerationId)>,
) -> Result<Vec<StoredAccessRecord>, StoreError> {
    let of_principals = access_record_principals::table
        .filter(access_record_principals::unique_id.eq_any(unique_ids.to_vec()))
        .select(access_record_principals::record_id);
    let query = records_query!().filter(access_records::id.eq_any(of_principals)).order(access_records::id.asc());
    let found: Vec<AccessRecordRow> = match organization {
        Some((id, generation_id)) => query
            .filter(access_records::organization_id.eq(id))
            .filter(access_records::generation_id.eq(generation_id))
            .load_all(connection)?,
        None => query.filter(access_records::organization_id.is_null()).load_all(connection)?,
    };
    load(found)
}

/// Like `find_of_principals`. Returns `StoreError::Altered` if one of the records was altered
/// outside of Keyswap: records limit as well.
pub(crate) fn find_authentic_of_principals(
    tx: &mut Tx<'_>,
    unique_ids: &[&str],
    organization: Option<(&OrganizationId, &GenerationId)>,
) -> Result<Vec<StoredAccessRecord>, StoreError> {
    let found = find_of_principals(tx, unique_ids, organization)?;
    found.iter().try_for_each(|stored| stored.verify(tx))?;
    Ok(found)
}

/// Returns the records within `reach`, newest first.
pub fn list(
    connection: &mut Conn,
    reach: RecordVisibility<'_>,
    page: &PageRequest,
) -> Result<Page<AccessRecord>, StoreError> {
    // This is a join, because for a correlated subquery the planner would read every organization.
    let organization = organizations::generation_id.nullable().eq(access_records::generation_id);
    let mut query = access_records::table
        .inner_join(access_record_parts::table.on(access_record_parts::record_id.eq(access_records::id)))
        .left_join(organizations::table.on(organization))
        .filter(access_records::generation_id.is_null().or(organizations::generation_id.nullable().is_not_null()))
        .select(AccessRecordRow::as_select())
        .into_boxed();
    query = match reach {
        RecordVisibility::All => query,
        RecordVisibility::None => return Ok(Page { data: Vec::new(), next: None }),
        RecordVisibility::Organization(id) => query.filter(access_records::organization_id.eq(id)),
        RecordVisibility::AdministeredBy(organization, generation_id) => {
            let administered = access_record_admins::table
                .filter(access_record_admins::generation_id.eq(generation_id))
                .select(access_record_admins::record_id);
            let query = query.filter(access_records::id.eq_any(administered));
            match organization {
                Some(id) => query.filter(access_records::organization_id.eq(id)),
                None => query.filter(access_records::organization_id.is_null()),
            }
        }
    };
    if let Some(after) = &page.cursor {
        query = query.filter(access_records::id.lt(after.clone()));
    }
    let rows: Vec<AccessRecordRow> =
        query.order(access_records::id.desc()).limit(page.limit + 1).load_all(connection)?;
    let records = load(rows)?.into_iter().map(|stored| stored.record).collect();
    Ok(Page::from_rows(records, page.limit, |record: &AccessRecord| record.id.to_string()))
}
