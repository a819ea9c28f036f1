//! Access records. Their principals, admins and statements are stored in tables of their own.

use std::collections::BTreeMap;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl,
    Queryable, RunQueryDsl, Selectable, SelectableHelper,
};

use crate::{
    domain::{
        access::{
            access_record::{AccessRecord, Principal, PrincipalType, RecordAdmin, RecordVisibility, Statement},
            resource::ResourcePattern,
        },
        common::{
            id::{AccessRecordId, GenerationId, OrganizationId},
            page::{Page, PageRequest},
            time::Timestamp,
        },
        events::ActorRef,
    },
    store::{
        access::{effective_statements::parse_resource_patterns, roles::parse_role_set},
        columns::parsed,
        error::StoreError,
        pool::Conn,
        schema::{
            access_record_admins, access_record_principals, access_record_statements, access_records, organizations,
        },
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = access_records)]
struct Row {
    id: String,
    name: String,
    organization_id: Option<String>,
    generation_id: Option<String>,
    created_at: i64,
    created_by: String,
    version: i64,
}

pub fn insert(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    let organization = record.organization.as_ref();
    diesel::insert_into(access_records::table)
        .values((
            access_records::id.eq(record.id.as_str()),
            access_records::name.eq(record.name.as_str()),
            access_records::organization_id.eq(organization.map(|(id, _)| id.as_str())),
            access_records::generation_id.eq(organization.map(|(_, generation_id)| generation_id.as_str())),
            access_records::created_at.eq(record.created_at.millis()),
            access_records::created_by.eq(record.created_by.to_stored()),
            access_records::version.eq(record.version),
        ))
        .execute(&mut **tx)?;
    insert_parts(tx, record)
}

/// Writes back a record that was read by `find_for_update` and modified. Increments its version.
pub fn update(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    diesel::update(access_records::table.find(record.id.as_str()))
        .set((access_records::name.eq(record.name.as_str()), access_records::version.eq(access_records::version + 1)))
        .execute(&mut **tx)?;
    delete_parts(tx, &record.id)?;
    insert_parts(tx, record)
}

pub fn delete(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    delete_parts(tx, id)?;
    diesel::delete(access_records::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

/// Deletes up to `most` records of deleted organizations and returns how many were deleted.
pub fn delete_orphaned(tx: &mut Tx<'_>, most: i64) -> Result<usize, StoreError> {
    let left: Vec<String> = access_records::table
        .filter(diesel::dsl::not(organization_generation_matches!()))
        .select(access_records::id)
        .limit(most)
        .load(&mut **tx)?;
    for id in &left {
        delete(tx, &parsed("access record id", id)?)?;
    }
    Ok(left.len())
}

fn delete_parts(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<(), StoreError> {
    let id = id.as_str();
    diesel::delete(access_record_principals::table.filter(access_record_principals::record_id.eq(id)))
        .execute(&mut **tx)?;
    diesel::delete(access_record_admins::table.filter(access_record_admins::record_id.eq(id))).execute(&mut **tx)?;
    diesel::delete(access_record_statements::table.filter(access_record_statements::record_id.eq(id)))
        .execute(&mut **tx)?;
    Ok(())
}

fn insert_parts(tx: &mut Tx<'_>, record: &AccessRecord) -> Result<(), StoreError> {
    let id = record.id.as_str();
    for (position, principal) in (0_i32..).zip(&record.principals) {
        diesel::insert_into(access_record_principals::table)
            .values((
                access_record_principals::record_id.eq(id),
                access_record_principals::unique_id.eq(principal.unique_id()),
                access_record_principals::kind.eq(principal.kind().as_str()),
                access_record_principals::principal_id.eq(principal.id()),
                access_record_principals::position.eq(position),
            ))
            .execute(&mut **tx)?;
    }
    for (position, admin) in (0_i32..).zip(&record.admins) {
        diesel::insert_into(access_record_admins::table)
            .values((
                access_record_admins::record_id.eq(id),
                access_record_admins::generation_id.eq(admin.generation_id.as_str()),
                access_record_admins::user_id.eq(admin.user.as_str()),
                access_record_admins::position.eq(position),
            ))
            .execute(&mut **tx)?;
    }
    for (position, statement) in (0_i32..).zip(&record.statements) {
        let resources: Vec<_> = statement.resources.iter().map(ResourcePattern::as_str).collect();
        diesel::insert_into(access_record_statements::table)
            .values((
                access_record_statements::record_id.eq(id),
                access_record_statements::position.eq(position),
                access_record_statements::roles.eq(statement.roles.to_string()),
                access_record_statements::resources.eq(resources.join(" ")),
            ))
            .execute(&mut **tx)?;
    }
    Ok(())
}

/// Finds a record, unless its organization was deleted. An organization that was created again with
/// the same id does not bring its records back.
pub fn find(connection: &mut Conn, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    let row: Option<Row> = access_records::table
        .filter(access_records::id.eq(id.as_str()))
        .filter(organization_generation_matches!())
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    Ok(load_parts(connection, row.into_iter().collect())?.pop())
}

/// Like `find`, but locks the record until the end of the change.
pub fn find_for_update(tx: &mut Tx<'_>, id: &AccessRecordId) -> Result<Option<AccessRecord>, StoreError> {
    diesel::update(access_records::table.find(id.as_str()))
        .set(access_records::version.eq(access_records::version))
        .execute(&mut **tx)?;
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
        RecordVisibility::Organization(id) => query.filter(access_records::organization_id.eq(id.to_string())),
        RecordVisibility::AdministeredBy(organization, generation_id) => {
            let administered = access_record_admins::table
                .filter(access_record_admins::generation_id.eq(generation_id.to_string()))
                .select(access_record_admins::record_id);
            let query = query.filter(access_records::id.eq_any(administered));
            match organization {
                Some(id) => query.filter(access_records::organization_id.eq(id.to_string())),
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
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let mut principals: BTreeMap<String, Vec<Principal>> = BTreeMap::new();
    let found: Vec<(String, String, String, String)> = access_record_principals::table
        .filter(access_record_principals::record_id.eq_any(ids.clone()))
        .order(access_record_principals::position.asc())
        .select((
            access_record_principals::record_id,
            access_record_principals::kind,
            access_record_principals::principal_id,
            access_record_principals::unique_id,
        ))
        .load(connection)?;
    for (record, kind, id, unique_id) in found {
        principals.entry(record).or_default().push(parse_principal(&kind, &id, &unique_id)?);
    }
    let mut admins: BTreeMap<String, Vec<RecordAdmin>> = BTreeMap::new();
    let found: Vec<(String, String, String)> = access_record_admins::table
        .filter(access_record_admins::record_id.eq_any(ids.clone()))
        .order(access_record_admins::position.asc())
        .select((access_record_admins::record_id, access_record_admins::user_id, access_record_admins::generation_id))
        .load(connection)?;
    for (record, user, generation_id) in found {
        let admin =
            RecordAdmin { user: parsed("user id", &user)?, generation_id: parsed("generation id", &generation_id)? };
        admins.entry(record).or_default().push(admin);
    }
    let mut statements: BTreeMap<String, Vec<Statement>> = BTreeMap::new();
    let found: Vec<(String, String, String)> = access_record_statements::table
        .filter(access_record_statements::record_id.eq_any(ids))
        .order(access_record_statements::position.asc())
        .select((
            access_record_statements::record_id,
            access_record_statements::roles,
            access_record_statements::resources,
        ))
        .load(connection)?;
    for (record, roles, resources) in found {
        let statement = Statement { roles: parse_role_set(&roles)?, resources: parse_resource_patterns(&resources)? };
        statements.entry(record).or_default().push(statement);
    }
    rows.into_iter()
        .map(|row| {
            Ok(AccessRecord {
                principals: principals.remove(&row.id).unwrap_or_default(),
                admins: admins.remove(&row.id).unwrap_or_default(),
                statements: statements.remove(&row.id).unwrap_or_default(),
                organization: organization(&row)?,
                id: parsed("access record id", &row.id)?,
                name: parsed("access record name", &row.name)?,
                created_at: Timestamp::from_millis(row.created_at),
                created_by: ActorRef::from_stored(&row.created_by),
                version: row.version,
            })
        })
        .collect()
}

fn organization(row: &Row) -> Result<Option<(OrganizationId, GenerationId)>, StoreError> {
    let (Some(id), Some(generation_id)) = (&row.organization_id, &row.generation_id) else { return Ok(None) };
    Ok(Some((parsed("organization id", id)?, parsed("generation id", generation_id)?)))
}

fn parse_principal(kind: &str, id: &str, unique_id: &str) -> Result<Principal, StoreError> {
    let kind = PrincipalType::ALL.into_iter().find(|known| known.as_str() == kind);
    match kind.ok_or_else(|| StoreError::InvalidData("kind of a principal".to_owned()))? {
        PrincipalType::User => Ok(Principal::User(parsed("user id", id)?, parsed("generation id", unique_id)?)),
        PrincipalType::ServiceClient => Ok(Principal::ServiceClient(parsed("service client id", id)?)),
        PrincipalType::ApiKey => Ok(Principal::ApiKey(parsed("key id", id)?)),
    }
}
