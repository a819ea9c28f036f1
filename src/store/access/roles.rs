//! Roles.

use diesel::prelude::*;

use crate::{
    domain::{
        access::{
            permission::{PermissionName, PermissionSet},
            role::{Role, RoleName, RoleSet},
        },
        common::{
            page::{Page, PageRequest},
            time::Timestamp,
        },
    },
    store::{
        access::permissions::{permissions_contain, roles_contain},
        columns::{parsed, permission_set},
        error::StoreError,
        pool::Conn,
        schema::{access_record_statements, access_records, members, roles, users},
        transaction::Tx,
    },
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = roles)]
struct Row {
    name: String,
    description: Option<String>,
    permissions: String,
    created_at: i64,
    version: i64,
}

/// Returns `Conflict` if the name is in use.
pub fn insert(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    diesel::insert_into(roles::table)
        .values((
            roles::name.eq(role.name.as_str()),
            roles::description.eq(role.description.as_ref().map(ToString::to_string)),
            roles::permissions.eq(role.permissions.to_string()),
            roles::created_at.eq(role.created_at.millis()),
            roles::version.eq(role.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    diesel::update(roles::table.find(role.name.as_str()))
        .set((
            roles::description.eq(role.description.as_ref().map(ToString::to_string)),
            roles::permissions.eq(role.permissions.to_string()),
            roles::version.eq(roles::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, name: &RoleName) -> Result<(), StoreError> {
    diesel::delete(roles::table.find(name.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, name: &RoleName) -> Result<Option<Role>, StoreError> {
    let row: Option<Row> = roles::table.find(name.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(role).transpose()
}

/// Returns the existing roles among `names` and locks them: they cannot be deleted before the end
/// of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, names: &RoleSet) -> Result<Vec<Role>, StoreError> {
    // The rows are locked in the order of the names, so that two changes that need the same roles
    // cannot deadlock.
    for name in names.iter() {
        diesel::update(roles::table.find(name.as_str())).set(roles::version.eq(roles::version)).execute(&mut **tx)?;
    }
    find_by_names(tx, names)
}

/// Returns the existing roles among `names`.
pub fn find_by_names(connection: &mut Conn, names: &RoleSet) -> Result<Vec<Role>, StoreError> {
    let names: Vec<_> = names.iter().map(RoleName::as_str).collect();
    let rows: Vec<Row> = roles::table.filter(roles::name.eq_any(names)).select(Row::as_select()).load(connection)?;
    rows.into_iter().map(role).collect()
}

/// Returns the permissions of all these roles.
pub fn read_permissions_of_roles(connection: &mut Conn, names: &RoleSet) -> Result<PermissionSet, StoreError> {
    let roles = find_by_names(connection, names)?;
    Ok(roles.iter().fold(PermissionSet::default(), |all, role| all.union(&role.permissions)))
}

/// Returns a page of roles, sorted by name as the permission catalog is.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<Role>, StoreError> {
    let mut query = roles::table.select(Row::as_select()).into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(roles::name.gt(after.clone()));
    }
    let rows: Vec<Row> = query.order(roles::name.asc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(role).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |role| role.name.to_string()))
}

/// Returns the names of at most 10 roles that contain a permission.
pub fn find_names_with_permission(
    connection: &mut Conn,
    permission: &PermissionName,
) -> Result<Vec<String>, StoreError> {
    let found = roles::table.filter(permissions_contain(permission)).select(roles::name).limit(10).load(connection)?;
    Ok(found)
}

/// Returns the ids of users and members that have a role and of access records that use it, at most
/// 10 of each.
pub fn find_role_assignments(connection: &mut Conn, role: &RoleName) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> =
        users::table.filter(roles_contain(role)).select(users::id).limit(10).load(connection)?;
    let members: Vec<(String, String)> = members::table
        .filter(roles_contain(role))
        .select((members::organization_id, members::user_id))
        .limit(10)
        .load(connection)?;
    found.extend(members.into_iter().map(|(organization, user)| format!("{user} in {organization}")));
    found.extend(crate::store::access::roles::find_ids_using_role(connection, role)?);
    Ok(found)
}

pub(crate) fn parse_role_set(column: &str) -> Result<RoleSet, StoreError> {
    RoleSet::from_stored(column).map_err(|error| StoreError::InvalidData(format!("roles: {error}")))
}

fn role(row: Row) -> Result<Role, StoreError> {
    Ok(Role {
        name: parsed("role", &row.name)?,
        description: row.description.map(|text| parsed("description", &text)).transpose()?,
        permissions: permission_set(&row.permissions)?,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}

/// Returns the ids of at most 10 records that use a role.
pub(crate) fn find_ids_using_role(connection: &mut Conn, role: &RoleName) -> Result<Vec<String>, StoreError> {
    let found = access_records::table
        .inner_join(access_record_statements::table.on(access_record_statements::record_id.eq(access_records::id)))
        .filter(organization_generation_matches!())
        .filter(roles_contain(role))
        .select(access_records::id)
        .distinct()
        .limit(10)
        .load(connection)?;
    Ok(found)
}
