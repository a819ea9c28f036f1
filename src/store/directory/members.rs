//! Members: users in organizations. A row is valid only for the generation of the organization that
//! it names.

use std::{collections::BTreeSet, slice};

use serde_json::json;

use crate::{
    domain::{
        common::{
            id::{OrganizationId, UserId},
            page::{Page, PageRequest},
        },
        directory::{Member, Organization},
    },
    store::{
        dialect::bulk::{self, BulkTable},
        directory::organizations::require_all_rows_written,
        prelude::*,
        schema::{members, members_with_roles, organizations},
    },
};

selectable_by_name!(members_with_roles => Member {
    organization = organization_id, user = user_id, generation_id, organization_generation_id, roles, metadata,
    created_at, version,
});

/// Adds a member. It replaces a row of an earlier organization with the same id. Returns `Conflict`
/// if the user is already a member.
pub fn insert(tx: &mut Tx<'_>, member: &Member) -> Result<(), StoreError> {
    let left = members::table
        .find((&member.organization, &member.user))
        .filter(members::organization_generation_id.ne(&member.organization_generation_id));
    diesel::delete(left).execute_in(tx)?;
    diesel::insert_into(members::table)
        .values(values!(members, member =>
            organization_id = &member.organization, user_id = &member.user, generation_id,
            organization_generation_id, metadata, created_at, version,
        ))
        .execute_in(tx)?;
    insert_roles(tx, slice::from_ref(member))
}

pub fn update(tx: &mut Tx<'_>, member: &Member) -> Result<(), StoreError> {
    diesel::update(members::table.find((&member.organization, &member.user)))
        .set((members::metadata.eq(&member.metadata), members::version.eq(members::version + 1)))
        .execute_in(tx)?;
    replace_roles(tx, slice::from_ref(member))
}

fn replace_roles(tx: &mut Tx<'_>, members: &[Member]) -> Result<(), StoreError> {
    let keys = |member: &Member| json!({ "organization_id": member.organization, "user_id": member.user });
    bulk::delete_rows(tx, &ROLES, &members.iter().map(keys).collect::<Vec<_>>())?;
    insert_roles(tx, members)
}

fn insert_roles(tx: &mut Tx<'_>, members: &[Member]) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for Member { organization, user, roles, .. } in members {
        rows.extend(roles.iter().map(|role| json!({ "organization_id": organization, "user_id": user, "role": role })));
    }
    bulk::upsert_rows(tx, &ROLES, &rows).map(drop)
}

pub fn delete(tx: &mut Tx<'_>, organization: &OrganizationId, user: &UserId) -> Result<(), StoreError> {
    diesel::delete(members::table.find((organization, user))).execute_in(tx)
}

/// Finds a member of this generation of the organization.
pub fn find(connection: &mut Conn, organization: &Organization, user: &UserId) -> Result<Option<Member>, StoreError> {
    members_with_roles::table
        .find((&organization.id, user))
        .filter(members_with_roles::organization_generation_id.eq(&organization.generation_id))
        .select(Member::as_select())
        .load_first(connection)
}

/// Like `find`, but locks the member until the end of the change.
pub fn find_for_change(
    tx: &mut Tx<'_>,
    organization: &Organization,
    user: &UserId,
) -> Result<Option<Member>, StoreError> {
    lock_row!(tx, members, (&organization.id, user));
    find(tx, organization, user)
}

const BULK: BulkTable = BulkTable {
    table: "members",
    read_from: "members_with_roles",
    columns: &[
        "organization_id",
        "user_id",
        "generation_id",
        "organization_generation_id",
        "metadata",
        "created_at",
        "version",
    ],
    key: 2,
    // A row of an earlier organization with the same id is replaced.
    on_conflict: "ON CONFLICT (organization_id, user_id) DO UPDATE SET generation_id = excluded.generation_id, \
                  organization_generation_id = excluded.organization_generation_id, \
                  metadata = excluded.metadata, created_at = excluded.created_at, version = excluded.version \
                  WHERE members.generation_id = excluded.generation_id \
                  OR members.organization_generation_id <> excluded.organization_generation_id",
};

const ROLES: BulkTable = BulkTable {
    table: "member_roles",
    read_from: "member_roles",
    columns: &["organization_id", "user_id", "role"],
    key: 2,
    on_conflict: "",
};

/// Returns the rows at `ids` and locks them until the end of the change. The rows may belong to
/// an earlier organization with the same id.
pub fn find_many_for_update(
    tx: &mut Tx<'_>,
    ids: &BTreeSet<(OrganizationId, UserId)>,
) -> Result<Vec<Member>, StoreError> {
    let keys: Vec<_> =
        ids.iter().map(|(organization, user)| json!({ "organization_id": organization, "user_id": user })).collect();
    bulk::select_rows_for_update(tx, &BULK, &keys)
}

/// Inserts new members and overwrites existing ones, including their versions. Callers pass the
/// members in the order of their ids, so that concurrent changes cannot deadlock. Returns
/// `Conflict` if a concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, members: &[Member]) -> Result<(), StoreError> {
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            json!({
                "organization_id": member.organization,
                "user_id": member.user,
                "generation_id": member.generation_id,
                "organization_generation_id": member.organization_generation_id,
                "metadata": member.metadata.to_json(),
                "created_at": member.created_at.millis(),
                "version": member.version,
            })
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())?;
    replace_roles(tx, members)
}

/// Returns a page of members, newest first. The cursor is the generation id of the membership,
/// which contains the time of joining.
pub fn list(
    connection: &mut Conn,
    organization: &Organization,
    page: &PageRequest,
) -> Result<Page<Member>, StoreError> {
    let query = members_with_roles::table
        .filter(members_with_roles::organization_id.eq(&organization.id))
        .filter(members_with_roles::organization_generation_id.eq(&organization.generation_id))
        .select(Member::as_select())
        .into_boxed();
    load_page!(connection, query, page, members_with_roles::generation_id, lt, desc, |member: &Member| {
        member.generation_id.to_string()
    })
}

/// Returns the memberships of a user, in the order of organization ids.
pub fn list_by_user(connection: &mut Conn, user: &UserId) -> Result<Vec<Member>, StoreError> {
    members_with_roles::table
        .inner_join(
            organizations::table.on(organizations::id
                .eq(members_with_roles::organization_id)
                .and(organizations::generation_id.eq(members_with_roles::organization_generation_id))),
        )
        .filter(members_with_roles::user_id.eq(user))
        .order(members_with_roles::organization_id.asc())
        .select(Member::as_select())
        .load_all(connection)
}

/// Deletes all rows of a user, including those of deleted organizations.
pub fn delete_by_user(tx: &mut Tx<'_>, user: &UserId) -> Result<(), StoreError> {
    diesel::delete(members::table.filter(members::user_id.eq(user))).execute_in(tx)
}

/// Deletes up to `most` rows of deleted organizations and returns how many were deleted.
pub fn delete_orphaned(tx: &mut Tx<'_>, most: i64) -> Result<usize, StoreError> {
    let left: Vec<(String, String)> = members::table
        .left_join(organizations::table.on(organizations::generation_id.eq(members::organization_generation_id)))
        .filter(organizations::generation_id.is_null())
        .select((members::organization_id, members::generation_id))
        .limit(most)
        .load_all(tx)?;
    // A generation id identifies one membership. Together with the organization id, the index for
    // list pages finds it.
    let (organizations, generation_ids): (Vec<_>, Vec<_>) = left.into_iter().unzip();
    let left = members::table
        .filter(members::organization_id.eq_any(organizations))
        .filter(members::generation_id.eq_any(generation_ids));
    diesel::delete(left).count_affected(tx)
}
