//! Roles.

use serde_json::json;

use crate::{
    domain::{
        access::{
            permission::{PermissionName, PermissionSet},
            role::{Role, RoleName, RoleSet},
        },
        common::page::{Page, PageRequest},
    },
    store::{
        access::access_records::delete_orphaned_with_role,
        dialect::bulk::{self, BulkTable},
        prelude::*,
        schema::{
            access_record_statement_roles, access_records, member_roles, role_permissions, roles,
            roles_with_permissions, user_roles,
        },
    },
};

selectable!(roles_with_permissions => Role { name, description, permissions, created_at, version });

/// Returns `Conflict` if the name is in use.
pub fn insert(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    diesel::insert_into(roles::table)
        .values(values!(roles, role => name, description, created_at, version))
        .execute_in(tx)?;
    insert_permissions(tx, role)
}

pub fn update(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    diesel::update(roles::table.find(&role.name))
        .set((roles::description.eq(&role.description), roles::version.eq(roles::version + 1)))
        .execute_in(tx)?;
    diesel::delete(role_permissions::table.filter(role_permissions::role.eq(&role.name))).execute_in(tx)?;
    insert_permissions(tx, role)
}

const PERMISSIONS: BulkTable = BulkTable {
    table: "role_permissions",
    read_from: "role_permissions",
    columns: &["role", "permission"],
    key: 1,
    on_conflict: "",
};

fn insert_permissions(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    let row = |permission| json!({ "role": role.name, "permission": permission });
    bulk::upsert_rows(tx, &PERMISSIONS, &role.permissions.iter().map(row).collect::<Vec<_>>()).map(drop)
}

pub fn delete(tx: &mut Tx<'_>, name: &RoleName) -> Result<(), StoreError> {
    delete_orphaned_with_role(tx, name)?;
    diesel::delete(roles::table.find(name)).execute_in(tx)
}

pub fn find(connection: &mut Conn, name: &RoleName) -> Result<Option<Role>, StoreError> {
    roles_with_permissions::table.find(name).select(Role::as_select()).load_first(connection)
}

/// Returns the existing roles among `names` and locks them: they cannot be deleted before the end
/// of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, names: &RoleSet) -> Result<Vec<Role>, StoreError> {
    // The rows are locked in the order of the names, so that two changes that need the same roles
    // cannot deadlock.
    for name in names.iter() {
        lock_row!(tx, roles, name);
    }
    find_by_names(tx, names)
}

/// Returns the existing roles among `names`.
pub fn find_by_names(connection: &mut Conn, names: &RoleSet) -> Result<Vec<Role>, StoreError> {
    roles_with_permissions::table
        .filter(roles_with_permissions::name.eq_any(names.iter()))
        .select(Role::as_select())
        .load_all(connection)
}

/// Returns the permissions of all these roles.
pub fn read_permissions_of_roles(connection: &mut Conn, names: &RoleSet) -> Result<PermissionSet, StoreError> {
    let roles = find_by_names(connection, names)?;
    Ok(roles.iter().fold(PermissionSet::default(), |all, role| all.union(&role.permissions)))
}

/// Returns a page of roles, sorted by name as the permission catalog is.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Role>, StoreError> {
    let query = roles_with_permissions::table.select(Role::as_select()).into_boxed();
    load_page!(connection, query, page, roles_with_permissions::name, gt, asc, |role: &Role| role.name.to_string())
}

/// Returns the names of at most 10 roles that contain a permission.
pub fn find_names_with_permission(
    connection: &mut Conn,
    permission: &PermissionName,
) -> Result<Vec<String>, StoreError> {
    role_permissions::table
        .filter(role_permissions::permission.eq(permission))
        .select(role_permissions::role)
        .limit(10)
        .load_all(connection)
}

/// Returns the ids of users and members that have a role and of access records that use it, at most
/// 10 of each.
pub fn find_role_assignments(connection: &mut Conn, role: &RoleName) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = user_roles::table
        .filter(user_roles::role.eq(role))
        .select(user_roles::user_id)
        .limit(10)
        .load_all(connection)?;
    let members: Vec<(String, String)> = member_roles::table
        .filter(member_roles::role.eq(role))
        .select((member_roles::organization_id, member_roles::user_id))
        .limit(10)
        .load_all(connection)?;
    found.extend(members.into_iter().map(|(organization, user)| format!("{user} in {organization}")));
    let records: Vec<String> = access_records::table
        .inner_join(
            access_record_statement_roles::table.on(access_record_statement_roles::record_id.eq(access_records::id)),
        )
        .filter(organization_generation_matches!())
        .filter(access_record_statement_roles::role.eq(role))
        .select(access_records::id)
        .distinct()
        .limit(10)
        .load_all(connection)?;
    found.extend(records);
    Ok(found)
}
