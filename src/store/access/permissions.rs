//! The permission catalog.

use std::collections::BTreeSet;

use diesel::{
    EscapeExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable,
    SelectableHelper, TextExpressionMethods,
    dsl::{Escape, Like, sql},
    expression::SqlLiteral,
    sql_types::Text,
};

use crate::{
    domain::{
        access::{
            permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
            role::RoleName,
        },
        common::{
            page::{Page, PageRequest},
            time::Timestamp,
        },
    },
    store::{columns::parsed, error::StoreError, pool::Conn, schema::permissions, transaction::Tx},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = permissions)]
struct Row {
    name: String,
    description: Option<String>,
    assignable_to: String,
    built_in: i32,
    created_at: i64,
    version: i64,
}

/// Returns `Conflict` if the name is in use.
pub fn insert(tx: &mut Tx<'_>, permission: &Permission) -> Result<(), StoreError> {
    diesel::insert_into(permissions::table)
        .values((
            permissions::name.eq(permission.name.as_str()),
            permissions::description.eq(permission.description.as_ref().map(ToString::to_string)),
            permissions::assignable_to.eq(assignable_column(permission)),
            permissions::built_in.eq(i32::from(permission.built_in)),
            permissions::created_at.eq(permission.created_at.millis()),
            permissions::version.eq(permission.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, permission: &Permission) -> Result<(), StoreError> {
    diesel::update(permissions::table.find(permission.name.as_str()))
        .set((
            permissions::description.eq(permission.description.as_ref().map(ToString::to_string)),
            permissions::assignable_to.eq(assignable_column(permission)),
            permissions::version.eq(permissions::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, name: &PermissionName) -> Result<(), StoreError> {
    diesel::delete(permissions::table.find(name.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, name: &PermissionName) -> Result<Option<Permission>, StoreError> {
    let row: Option<Row> =
        permissions::table.find(name.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(permission).transpose()
}

/// Returns the permissions among `names` that are in the catalog, and locks them: they cannot be
/// deleted before the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, names: &PermissionSet) -> Result<Vec<Permission>, StoreError> {
    let names: Vec<_> = names.iter().map(PermissionName::as_str).collect();
    // The rows are locked in the order of the names, so that two changes that need the same
    // permissions cannot deadlock.
    for name in &names {
        diesel::update(permissions::table.find(name))
            .set(permissions::version.eq(permissions::version))
            .execute(&mut **tx)?;
    }
    let rows: Vec<Row> =
        permissions::table.filter(permissions::name.eq_any(names)).select(Row::as_select()).load(&mut **tx)?;
    rows.into_iter().map(permission).collect()
}

/// Returns a page of the catalog. Unlike most lists, it is sorted by name.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Permission>, StoreError> {
    list_assignable(connection, None, page)
}

/// Like `list`, restricted to permissions that keys of this type of owner may carry.
pub fn list_assignable(
    connection: &mut Conn,
    to: Option<AssignableOwnerType>,
    page: &PageRequest,
) -> Result<Page<Permission>, StoreError> {
    let mut query = permissions::table.select(Row::as_select()).into_boxed();
    if let Some(to) = to {
        let listed = sql::<Text>("' ' || assignable_to || ' '").like(like_pattern(to.as_str())).escape('\\');
        query = query.filter(listed);
    }
    if let Some(after) = &page.cursor {
        query = query.filter(permissions::name.gt(after.clone()));
    }
    let rows: Vec<Row> = query.order(permissions::name.asc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(permission).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |permission| permission.name.to_string()))
}

type ListContains = Escape<Like<SqlLiteral<Text>, String>>;

/// Tests whether the column `permissions` of the queried table contains a permission.
pub(crate) fn permissions_contain(name: &PermissionName) -> ListContains {
    sql::<Text>("' ' || permissions || ' '").like(like_pattern(name.as_str())).escape('\\')
}

/// Tests whether the column `roles` of the queried table contains a role.
pub(crate) fn roles_contain(name: &RoleName) -> ListContains {
    sql::<Text>("' ' || roles || ' '").like(like_pattern(name.as_str())).escape('\\')
}

fn like_pattern(name: &str) -> String {
    // `_` is a wildcard in LIKE and is allowed in names.
    format!("% {} %", name.replace('_', "\\_"))
}

fn assignable_column(permission: &Permission) -> String {
    permission.assignable_to.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

fn permission(row: Row) -> Result<Permission, StoreError> {
    let assignable_to = row
        .assignable_to
        .split_ascii_whitespace()
        .map(|kind| {
            AssignableOwnerType::from_stored(kind)
                .ok_or_else(|| StoreError::InvalidData(format!("assignable to {kind}")))
        })
        .collect::<Result<BTreeSet<_>, _>>()?;
    Ok(Permission {
        name: parsed("permission", &row.name)?,
        description: row.description.map(|text| parsed("description", &text)).transpose()?,
        assignable_to,
        built_in: row.built_in != 0,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}
