//! Access records. Their principals, admins and statements are stored in tables of their own.

use std::collections::BTreeMap;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl,
    Queryable, RunQueryDsl, Selectable, SelectableHelper,
};

use serde_json::json;

use crate::{
    domain::{
        access::access_record::{AccessRecord, Principal, RecordAdmin, RecordVisibility, Statement},
        common::{
            id::{AccessRecordId, GenerationId, OrganizationId},
            name::DisplayName,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        events::ActorRef,
    },
    store::{
        column_types::ResourcePatterns,
        dialect::bulk::{self, BulkTable},
        error::StoreError,
        pool::Conn,
        rows::{lock_row, selectable, values},
        schema::{
            access_record_admins, access_record_principals, access_record_statements,
            access_record_statements_with_roles, access_records, organizations,
        },
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = access_records)]
struct Row {
    id: AccessRecordId,
    name: DisplayName,
    organization_id: Option<OrganizationId>,
    generation_id: Option<GenerationId>,
    created_at: Timestamp,
    created_by: ActorRef,
    version: i64,
}

selectable!(access_record_admins => RecordAdmin { user = user_id, generation_id });

selectable!(access_record_statements_with_roles => Statement { roles, resources as ResourcePatterns });

pub fn insert(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    let organization = record.organization.as_ref();
    diesel::insert_into(access_records::table)
        .values(values!(access_records, record =>
            id, name, organization_id = organization.map(|(id, _)| id),
            generation_id = organization.map(|(_, generation_id)| generation_id), created_at, created_by,
            version,
        ))
        .execute(&mut **tx)?;
    insert_parts(tx, record)
}

/// Writes back a record that was read by `find_for_update` and modified. Increments its version.
pub fn update(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    diesel::update(access_records::table.find(&record.id))
        .set((access_records::name.eq(&record.name), access_records::version.eq(access_records::version + 1)))
        .execute(&mut **tx)?;
    delete_parts(tx, &record.id)?;
    insert_parts(tx, record)
}

pub fn delete(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    delete_parts(tx, id)?;
    diesel::delete(access_records::table.find(id)).execute(&mut **tx)?;
    Ok(())
}

/// Deletes up to `most` records of deleted organizations and returns how many were deleted.
pub fn delete_orphaned(tx: &mut Tx<'_>, most: i64) -> Result<usize, StoreError> {
    let left: Vec<AccessRecordId> = access_records::table
        .filter(diesel::dsl::not(organization_generation_matches!()))
        .select(access_records::id)
        .limit(most)
        .load(&mut **tx)?;
    for id in &left {
        delete(tx, id)?;
    }
    Ok(left.len())
}

fn delete_parts(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    diesel::delete(access_record_principals::table.filter(access_record_principals::record_id.eq(id)))
        .execute(&mut **tx)?;
    diesel::delete(access_record_admins::table.filter(access_record_admins::record_id.eq(id))).execute(&mut **tx)?;
    diesel::delete(access_record_statements::table.filter(access_record_statements::record_id.eq(id)))
        .execute(&mut **tx)?;
    Ok(())
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
            .execute(&mut **tx)?;
    }
    for (position, admin) in (0_i32..).zip(&record.admins) {
        diesel::insert_into(access_record_admins::table)
            .values((
                access_record_admins::record_id.eq(id),
                access_record_admins::generation_id.eq(&admin.generation_id),
                access_record_admins::user_id.eq(&admin.user),
                access_record_admins::position.eq(position),
            ))
            .execute(&mut **tx)?;
    }
    for (position, statement) in (0_i32..).zip(&record.statements) {
        diesel::insert_into(access_record_statements::table)
            .values((
                access_record_statements::record_id.eq(id),
                access_record_statements::position.eq(position),
                access_record_statements::resources.eq(ResourcePatterns(statement.resources.clone())),
            ))
            .execute(&mut **tx)?;
        let role_row = |role| json!({ "record_id": id, "position": position, "role": role });
        bulk::upsert_rows(tx, &STATEMENT_ROLES, &statement.roles.iter().map(role_row).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Finds a record, unless its organization was deleted. An organization that was created again with
/// the same id does not bring its records back.
pub fn find(connection: &mut Conn, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    let row: Option<Row> = access_records::table
        .filter(access_records::id.eq(id))
        .filter(organization_generation_matches!())
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    Ok(load_parts(connection, row.into_iter().collect())?.pop())
}

/// Like `find`, but locks the record until the end of the change.
pub fn find_for_update(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    lock_row!(tx, access_records, id);
    find(tx, id)
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
        .left_join(organizations::table.on(organization))
        .filter(access_records::generation_id.is_null().or(organizations::generation_id.nullable().is_not_null()))
        .select(Row::as_select())
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
    let rows: Vec<Row> = query.order(access_records::id.desc()).limit(page.limit + 1).load(connection)?;
    let records = load_parts(connection, rows)?;
    Ok(Page::from_rows(records, page.limit, |record| record.id.to_string()))
}

/// Loads the principals, admins and statements of the records.
fn load_parts(connection: &mut Conn, rows: Vec<Row>) -> Result<Vec<AccessRecord>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = rows.iter().map(|row| &row.id).collect();
    let mut principals: BTreeMap<AccessRecordId, Vec<Principal>> = group_by_record(
        access_record_principals::table
            .filter(access_record_principals::record_id.eq_any(ids.clone()))
            .order(access_record_principals::position.asc())
            .select((
                access_record_principals::record_id,
                (
                    access_record_principals::kind,
                    access_record_principals::principal_id,
                    access_record_principals::unique_id,
                ),
            ))
            .load(connection)?,
    );
    let mut admins: BTreeMap<AccessRecordId, Vec<RecordAdmin>> = group_by_record(
        access_record_admins::table
            .filter(access_record_admins::record_id.eq_any(ids.clone()))
            .order(access_record_admins::position.asc())
            .select((access_record_admins::record_id, RecordAdmin::as_select()))
            .load(connection)?,
    );
    let mut statements: BTreeMap<AccessRecordId, Vec<Statement>> = group_by_record(
        access_record_statements_with_roles::table
            .filter(access_record_statements_with_roles::record_id.eq_any(ids))
            .order(access_record_statements_with_roles::position.asc())
            .select((access_record_statements_with_roles::record_id, Statement::as_select()))
            .load(connection)?,
    );
    let record = |row: Row| AccessRecord {
        principals: principals.remove(&row.id).unwrap_or_default(),
        admins: admins.remove(&row.id).unwrap_or_default(),
        statements: statements.remove(&row.id).unwrap_or_default(),
        organization: row.organization_id.zip(row.generation_id),
        id: row.id,
        name: row.name,
        created_at: row.created_at,
        created_by: row.created_by,
        version: row.version,
    };
    Ok(rows.into_iter().map(record).collect())
}

fn group_by_record<T>(rows: Vec<(AccessRecordId, T)>) -> BTreeMap<AccessRecordId, Vec<T>> {
    let mut groups: BTreeMap<AccessRecordId, Vec<T>> = BTreeMap::new();
    for (record, part) in rows {
        groups.entry(record).or_default().push(part);
    }
    groups
}
