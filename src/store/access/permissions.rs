//! The permission catalog.

use diesel::{
    dsl::{Escape, Like, sql},
    expression::SqlLiteral,
    sql_types::Text,
};

use crate::{
    domain::{
        access::permission::{AssignableOwnerType, Permission, PermissionName, PermissionSet},
        common::page::{Page, PageRequest},
    },
    store::{
        column_types::{Flag, OwnerTypes},
        prelude::*,
        schema::permissions,
    },
};

selectable!(permissions => Permission {
    name, description, assignable_to as OwnerTypes, built_in as Flag, created_at, version,
});

/// Returns `Conflict` if the name is in use.
pub fn insert(tx: &mut Tx<'_>, permission: &Permission) -> Result<(), StoreError> {
    diesel::insert_into(permissions::table)
        .values(values!(permissions, permission =>
            name, description, assignable_to = OwnerTypes(permission.assignable_to.clone()),
            built_in = Flag(permission.built_in), created_at, version,
        ))
        .execute_in(tx)
}

pub fn update(tx: &mut Tx<'_>, permission: &Permission) -> Result<(), StoreError> {
    diesel::update(permissions::table.find(&permission.name))
        .set((
            permissions::description.eq(&permission.description),
            permissions::assignable_to.eq(OwnerTypes(permission.assignable_to.clone())),
            permissions::version.eq(permissions::version + 1),
        ))
        .execute_in(tx)
}

pub fn delete(tx: &mut Tx<'_>, name: &PermissionName) -> Result<(), StoreError> {
    diesel::delete(permissions::table.find(name)).execute_in(tx)
}

pub fn find(connection: &mut Conn, name: &PermissionName) -> Result<Option<Permission>, StoreError> {
    permissions::table.find(name).select(Permission::as_select()).load_first(connection)
}

/// Returns the permissions among `names` that are in the catalog, and locks them: they cannot be
/// deleted before the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, names: &PermissionSet) -> Result<Vec<Permission>, StoreError> {
    // The rows are locked in the order of the names, so that two changes that need the same
    // permissions cannot deadlock.
    for name in names.iter() {
        lock_row!(tx, permissions, name);
    }
    permissions::table.filter(permissions::name.eq_any(names.iter())).select(Permission::as_select()).load_all(tx)
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
    let mut query = permissions::table.select(Permission::as_select()).into_boxed();
    if let Some(to) = to {
        let listed = sql::<Text>("' ' || assignable_to || ' '").like(like_pattern(to.as_str())).escape('\\');
        query = query.filter(listed);
    }
    load_page!(connection, query, page, permissions::name, gt, asc, |permission: &Permission| permission
        .name
        .to_string())
}

type ListContains = Escape<Like<SqlLiteral<Text>, String>>;

/// Tests whether the column `permissions` of the queried table contains a permission.
pub(crate) fn permissions_contain(name: &PermissionName) -> ListContains {
    sql::<Text>("' ' || permissions || ' '").like(like_pattern(name.as_str())).escape('\\')
}

fn like_pattern(name: &str) -> String {
    // `_` is a wildcard in LIKE and is allowed in names.
    format!("% {} %", name.replace('_', "\\_"))
}
