//! Organizations.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, QueryableByName, RunQueryDsl, Selectable,
    SelectableHelper,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    domain::{
        common::{
            id::OrganizationId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        directory::Organization,
    },
    store::{
        columns::{parsed, parsed_metadata},
        dialect::bulk::{self, BulkTable},
        error::StoreError,
        pool::Conn,
        schema::organizations,
        transaction::Tx,
    },
};

#[derive(Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = organizations)]
struct Row {
    id: String,
    generation_id: String,
    name: Option<String>,
    metadata: String,
    created_at: i64,
    version: i64,
}

/// Returns `Conflict` if the organization exists.
pub fn insert(tx: &mut Tx<'_>, organization: &Organization) -> Result<(), StoreError> {
    diesel::insert_into(organizations::table)
        .values((
            organizations::id.eq(organization.id.as_str()),
            organizations::generation_id.eq(organization.generation_id.as_str()),
            organizations::name.eq(organization.name.as_ref().map(ToString::to_string)),
            organizations::metadata.eq(organization.metadata.to_json()),
            organizations::created_at.eq(organization.created_at.millis()),
            organizations::version.eq(organization.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, organization: &Organization) -> Result<(), StoreError> {
    diesel::update(organizations::table.find(organization.id.as_str()))
        .set((
            organizations::name.eq(organization.name.as_ref().map(ToString::to_string)),
            organizations::metadata.eq(organization.metadata.to_json()),
            organizations::version.eq(organizations::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

/// Deletes an organization. Its member rows become invalid, because they name a generation that no
/// longer exists. They are deleted later.
pub fn delete(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<(), StoreError> {
    diesel::delete(organizations::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
    let row: Option<Row> =
        organizations::table.find(id.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(organization).transpose()
}

/// Like `find`, for many organizations.
pub fn find_many(
    connection: &mut Conn,
    ids: &BTreeSet<OrganizationId>,
) -> Result<BTreeMap<OrganizationId, Organization>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = ids.iter().map(OrganizationId::as_str);
    let rows: Vec<Row> =
        organizations::table.filter(organizations::id.eq_any(ids)).select(Row::as_select()).load(connection)?;
    let known = |row| organization(row).map(|organization| (organization.id.clone(), organization));
    rows.into_iter().map(known).collect()
}

/// Like `find`, but locks the organization until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
    diesel::update(organizations::table.find(id.as_str()))
        .set(organizations::version.eq(organizations::version))
        .execute(&mut **tx)?;
    find(tx, id)
}

const BULK: BulkTable = BulkTable {
    table: "organizations",
    columns: &[
        ("id", "TEXT"),
        ("generation_id", "TEXT"),
        ("name", "TEXT"),
        ("metadata", "TEXT"),
        ("created_at", "BIGINT"),
        ("version", "BIGINT"),
    ],
    key: 1,
    on_conflict: "ON CONFLICT (id) DO UPDATE SET name = excluded.name, metadata = excluded.metadata, version = excluded.version \
                  WHERE organizations.generation_id = excluded.generation_id",
};

/// Returns the existing organizations among `ids` and locks them until the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, ids: &BTreeSet<OrganizationId>) -> Result<Vec<Organization>, StoreError> {
    let keys: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    let rows: Vec<Row> = if keys.is_empty() { Vec::new() } else { bulk::select_rows_for_update(tx, &BULK, &keys)? };
    rows.into_iter().map(organization).collect()
}

/// Inserts new organizations and overwrites existing ones, including their versions. Callers pass
/// the organizations in the order of their ids, so that concurrent changes cannot deadlock. Returns
/// `Conflict` if a concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, organizations: &[Organization]) -> Result<(), StoreError> {
    if organizations.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = organizations
        .iter()
        .map(|organization| Row {
            id: organization.id.to_string(),
            generation_id: organization.generation_id.to_string(),
            name: organization.name.as_ref().map(ToString::to_string),
            metadata: organization.metadata.to_json(),
            created_at: organization.created_at.millis(),
            version: organization.version,
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())
}

/// Returns `Conflict` unless every row was written. A row that exists with another generation id is
/// not written.
pub(crate) fn require_all_rows_written(written: usize, wanted: usize) -> Result<(), StoreError> {
    if written == wanted { Ok(()) } else { Err(StoreError::Conflict("put at the same moment".to_owned())) }
}

/// Returns a page of organizations, newest first. The cursor is the generation id, which contains
/// the creation time.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Organization>, StoreError> {
    let mut query = organizations::table.select(Row::as_select()).into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(organizations::generation_id.lt(after.clone()));
    }
    let rows: Vec<Row> = query.order(organizations::generation_id.desc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(organization).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |organization| organization.generation_id.to_string()))
}

fn organization(row: Row) -> Result<Organization, StoreError> {
    Ok(Organization {
        id: parsed("organization id", &row.id)?,
        generation_id: parsed("generation id", &row.generation_id)?,
        name: row.name.map(|name| parsed("organization name", &name)).transpose()?,
        metadata: parsed_metadata(&row.metadata)?,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}
