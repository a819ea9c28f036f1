//! Organizations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::{
    domain::{
        common::{
            id::OrganizationId,
            page::{Page, PageRequest},
        },
        directory::Organization,
    },
    store::{
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::organizations,
    },
};

selectable_by_name!(organizations => Organization { id, generation_id, name, metadata, created_at, version });

/// Returns `Conflict` if the organization exists.
pub fn insert(tx: &mut Tx<'_>, organization: &Organization) -> Result<(), StoreError> {
    diesel::insert_into(organizations::table)
        .values(values!(organizations, organization => id, generation_id, name, metadata, created_at, version))
        .execute_in(tx)
}

pub fn update(tx: &mut Tx<'_>, organization: &Organization) -> Result<(), StoreError> {
    diesel::update(organizations::table.find(&organization.id))
        .set(values!(organizations, organization => name, metadata, version = organizations::version + 1))
        .execute_in(tx)
}

/// Deletes an organization. Its member rows become invalid, because they name a generation that no
/// longer exists. They are deleted later.
pub fn delete(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<(), StoreError> {
    diesel::delete(organizations::table.find(id)).execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
    organizations::table.find(id).select(Organization::as_select()).load_first(connection)
}

/// Like `find`, for many organizations.
pub fn find_many(
    connection: &mut Conn,
    ids: &BTreeSet<OrganizationId>,
) -> Result<BTreeMap<OrganizationId, Organization>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: Vec<Organization> = organizations::table
        .filter(organizations::id.eq_any(ids))
        .select(Organization::as_select())
        .load_all(connection)?;
    Ok(found.into_iter().map(|organization| (organization.id.clone(), organization)).collect())
}

/// Like `find`, but locks the organization until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
    lock_row!(tx, organizations, id);
    find(tx, id)
}

const BULK: BulkTable = BulkTable {
    table: "organizations",
    read_from: "organizations",
    columns: &["id", "generation_id", "name", "metadata", "created_at", "version"],
    key: 1,
    on_conflict: "ON CONFLICT (id) DO UPDATE SET name = excluded.name, metadata = excluded.metadata, version = excluded.version \
                  WHERE organizations.generation_id = excluded.generation_id",
};

/// Returns the existing organizations among `ids` and locks them until the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, ids: &BTreeSet<OrganizationId>) -> Result<Vec<Organization>, StoreError> {
    let keys: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    bulk::select_rows_for_update(tx, &BULK, &keys)
}

/// Inserts new organizations and overwrites existing ones, including their versions. Callers pass
/// the organizations in the order of their ids, so that concurrent changes cannot deadlock. Returns
/// `Conflict` if a concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, organizations: &[Organization]) -> Result<(), StoreError> {
    let rows: Vec<_> = organizations
        .iter()
        .map(|organization| {
            json!({
                "id": organization.id,
                "generation_id": organization.generation_id,
                "name": organization.name,
                "metadata": organization.metadata.to_json(),
                "created_at": organization.created_at.millis(),
                "version": organization.version,
            })
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())
}

/// Returns `Conflict` unless every row was written. A row that exists with another generation id is
/// not written.
pub(crate) fn require_all_rows_written(written: usize, wanted: usize) -> Result<(), StoreError> {
    if written == wanted { Ok(()) } else { Err(StoreError::conflict("put at the same moment")) }
}

/// Returns a page of organizations, newest first. The cursor is the generation id, which contains
/// the creation time.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Organization>, StoreError> {
    let query = organizations::table.select(Organization::as_select()).into_boxed();
    load_page!(connection, query, page, organizations::generation_id, lt, desc, |organization: &Organization| {
        organization.generation_id.to_string()
    })
}
