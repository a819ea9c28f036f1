//! Members: users in organizations. A row is valid only for the generation of the organization that
//! it names.

use std::collections::BTreeSet;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, OptionalExtension, QueryDsl, Queryable, QueryableByName,
    RunQueryDsl, Selectable, SelectableHelper,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    domain::{
        common::{
            id::{OrganizationId, UserId},
            page::{Page, PageRequest},
            time::Timestamp,
        },
        directory::{Member, Organization},
    },
    store::{
        access::roles::parse_role_set,
        columns::{parsed, parsed_metadata},
        dialect::bulk::{self, BulkTable},
        directory::organizations::require_all_rows_written,
        error::StoreError,
        pool::Conn,
        schema::{members, organizations},
        transaction::Tx,
    },
};

#[derive(Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = members)]
struct Row {
    organization_id: String,
    user_id: String,
    generation_id: String,
    organization_generation_id: String,
    roles: String,
    metadata: String,
    created_at: i64,
    version: i64,
}

/// Adds a member. It replaces a row of an earlier organization with the same id. Returns `Conflict`
/// if the user is already a member.
pub fn insert(tx: &mut Tx<'_>, member: &Member) -> Result<(), StoreError> {
    let left = members::table
        .find((member.organization.as_str(), member.user.as_str()))
        .filter(members::organization_generation_id.ne(member.organization_generation_id.as_str()));
    diesel::delete(left).execute(&mut **tx)?;
    diesel::insert_into(members::table)
        .values((
            members::organization_id.eq(member.organization.as_str()),
            members::user_id.eq(member.user.as_str()),
            members::generation_id.eq(member.generation_id.as_str()),
            members::organization_generation_id.eq(member.organization_generation_id.as_str()),
            members::roles.eq(member.roles.to_string()),
            members::metadata.eq(member.metadata.to_json()),
            members::created_at.eq(member.created_at.millis()),
            members::version.eq(member.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, member: &Member) -> Result<(), StoreError> {
    diesel::update(members::table.find((member.organization.as_str(), member.user.as_str())))
        .set((
            members::roles.eq(member.roles.to_string()),
            members::metadata.eq(member.metadata.to_json()),
            members::version.eq(members::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, organization: &OrganizationId, user: &UserId) -> Result<(), StoreError> {
    diesel::delete(members::table.find((organization.as_str(), user.as_str()))).execute(&mut **tx)?;
    Ok(())
}

/// Finds a member of this generation of the organization.
pub fn find(connection: &mut Conn, organization: &Organization, user: &UserId) -> Result<Option<Member>, StoreError> {
    let row: Option<Row> = members::table
        .find((organization.id.as_str(), user.as_str()))
        .filter(members::organization_generation_id.eq(organization.generation_id.as_str()))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    row.map(member_from_row).transpose()
}

/// Like `find`, but locks the member until the end of the change.
pub fn find_for_change(
    tx: &mut Tx<'_>,
    organization: &Organization,
    user: &UserId,
) -> Result<Option<Member>, StoreError> {
    diesel::update(members::table.find((organization.id.as_str(), user.as_str())))
        .set(members::version.eq(members::version))
        .execute(&mut **tx)?;
    find(tx, organization, user)
}

const BULK: BulkTable = BulkTable {
    table: "members",
    columns: &[
        ("organization_id", "TEXT"),
        ("user_id", "TEXT"),
        ("generation_id", "TEXT"),
        ("organization_generation_id", "TEXT"),
        ("roles", "TEXT"),
        ("metadata", "TEXT"),
        ("created_at", "BIGINT"),
        ("version", "BIGINT"),
    ],
    key: 2,
    // A row of an earlier organization with the same id is replaced.
    on_conflict: "ON CONFLICT (organization_id, user_id) DO UPDATE SET generation_id = excluded.generation_id, \
                  organization_generation_id = excluded.organization_generation_id, roles = excluded.roles, \
                  metadata = excluded.metadata, created_at = excluded.created_at, version = excluded.version \
                  WHERE members.generation_id = excluded.generation_id \
                  OR members.organization_generation_id <> excluded.organization_generation_id",
};

/// Returns the rows at `places` and locks them until the end of the change. The rows may belong to
/// an earlier organization with the same id.
pub fn find_many_for_update(
    tx: &mut Tx<'_>,
    places: &BTreeSet<(OrganizationId, UserId)>,
) -> Result<Vec<Member>, StoreError> {
    let keys: Vec<_> = places.iter().map(|(id, user)| json!({ "organization_id": id, "user_id": user })).collect();
    let rows: Vec<Row> = if keys.is_empty() { Vec::new() } else { bulk::select_rows_for_update(tx, &BULK, &keys)? };
    rows.into_iter().map(member_from_row).collect()
}

/// Inserts new members and overwrites existing ones, including their versions. Callers pass the
/// members in the order of their ids, so that concurrent changes cannot deadlock. Returns
/// `Conflict` if a concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, members: &[Member]) -> Result<(), StoreError> {
    if members.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = members
        .iter()
        .map(|member| Row {
            organization_id: member.organization.to_string(),
            user_id: member.user.to_string(),
            generation_id: member.generation_id.to_string(),
            organization_generation_id: member.organization_generation_id.to_string(),
            roles: member.roles.to_string(),
            metadata: member.metadata.to_json(),
            created_at: member.created_at.millis(),
            version: member.version,
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())
}

/// Returns a page of members, newest first. The cursor is the generation id of the membership,
/// which contains the time of joining.
pub fn list(
    connection: &mut Conn,
    organization: &Organization,
    page: &PageRequest,
) -> Result<Page<Member>, StoreError> {
    let mut query = members::table
        .filter(members::organization_id.eq(organization.id.as_str()))
        .filter(members::organization_generation_id.eq(organization.generation_id.as_str()))
        .select(Row::as_select())
        .into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(members::generation_id.lt(after.clone()));
    }
    let rows: Vec<Row> = query.order(members::generation_id.desc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(member_from_row).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |member| member.generation_id.to_string()))
}

/// Returns the memberships of a user, in the order of organization ids.
pub fn list_by_user(connection: &mut Conn, user: &UserId) -> Result<Vec<Member>, StoreError> {
    let rows: Vec<Row> = members::table
        .inner_join(
            organizations::table.on(organizations::id
                .eq(members::organization_id)
                .and(organizations::generation_id.eq(members::organization_generation_id))),
        )
        .filter(members::user_id.eq(user.as_str()))
        .order(members::organization_id.asc())
        .select(Row::as_select())
        .load(connection)?;
    rows.into_iter().map(member_from_row).collect()
}

/// Deletes all rows of a user, including those of deleted organizations.
pub fn delete_by_user(tx: &mut Tx<'_>, user: &UserId) -> Result<(), StoreError> {
    diesel::delete(members::table.filter(members::user_id.eq(user.as_str()))).execute(&mut **tx)?;
    Ok(())
}

/// Deletes up to `most` rows of deleted organizations and returns how many were deleted.
pub fn delete_orphaned(tx: &mut Tx<'_>, most: i64) -> Result<usize, StoreError> {
    let left: Vec<(String, String)> = members::table
        .left_join(organizations::table.on(organizations::generation_id.eq(members::organization_generation_id)))
        .filter(organizations::generation_id.is_null())
        .select((members::organization_id, members::generation_id))
        .limit(most)
        .load(&mut **tx)?;
    // A generation id identifies one membership. Together with the organization id, the index for
    // list pages finds it.
    let (organizations, generation_ids): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    let left = members::table
        .filter(members::organization_id.eq_any(organizations))
        .filter(members::generation_id.eq_any(generation_ids));
    Ok(diesel::delete(left).execute(&mut **tx)?)
}

fn member_from_row(row: Row) -> Result<Member, StoreError> {
    Ok(Member {
        organization: parsed("organization id", &row.organization_id)?,
        user: parsed("user id", &row.user_id)?,
        generation_id: parsed("generation id", &row.generation_id)?,
        organization_generation_id: parsed("generation id", &row.organization_generation_id)?,
        roles: parse_role_set(&row.roles)?,
        metadata: parsed_metadata(&row.metadata)?,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}
