//! Users.

use std::{collections::BTreeSet, slice};

use serde_json::json;

use crate::{
    domain::{
        common::{
            id::UserId,
            page::{Page, PageRequest},
            time::Timestamp,
        },
        directory::User,
    },
    store::{
        dialect::bulk::{self, BulkTable},
        directory::organizations::require_all_rows_written,
        prelude::*,
        schema::{users, users_with_roles},
    },
};

selectable_by_name!(users_with_roles => User {
    id, generation_id, blocked_at, locked_at, lock_reason, profile, metadata, roles, created_at, version,
});

/// Returns `Conflict` if the user exists.
pub fn insert(tx: &mut Tx<'_>, user: &User) -> Result<(), StoreError> {
    diesel::insert_into(users::table)
        .values(values!(users, user =>
            id, generation_id, blocked_at, locked_at, lock_reason, profile, metadata, created_at, version,
        ))
        .execute_in(tx)?;
    insert_roles(tx, slice::from_ref(user))
}

pub fn update(tx: &mut Tx<'_>, user: &User) -> Result<(), StoreError> {
    diesel::update(users::table.find(&user.id))
        .set(values!(users, user =>
            blocked_at, locked_at, lock_reason, profile, metadata, version = users::version + 1,
        ))
        .execute_in(tx)?;
    replace_roles(tx, slice::from_ref(user))
}

fn replace_roles(tx: &mut Tx<'_>, users: &[User]) -> Result<(), StoreError> {
    let keys: Vec<_> = users.iter().map(|user| json!({ "user_id": user.id })).collect();
    bulk::delete_rows(tx, &ROLES, &keys)?;
    insert_roles(tx, users)
}

fn insert_roles(tx: &mut Tx<'_>, users: &[User]) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for User { id, roles, .. } in users {
        rows.extend(roles.iter().map(|role| json!({ "user_id": id, "role": role })));
    }
    bulk::upsert_rows(tx, &ROLES, &rows).map(drop)
}

pub fn delete(tx: &mut Tx<'_>, id: &UserId) -> Result<(), StoreError> {
    diesel::delete(users::table.find(id)).execute_in(tx)
}

pub fn find(connection: &mut Conn, id: &UserId) -> Result<Option<User>, StoreError> {
    users_with_roles::table.find(id).select(User::as_select()).load_first(connection)
}

/// Like `find`, but locks the user until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &UserId) -> Result<Option<User>, StoreError> {
    lock_row!(tx, users, id);
    find(tx, id)
}

const BULK: BulkTable = BulkTable {
    table: "users",
    read_from: "users_with_roles",
    columns: &[
        "id",
        "generation_id",
        "blocked_at",
        "locked_at",
        "lock_reason",
        "profile",
        "metadata",
        "created_at",
        "version",
    ],
    key: 1,
    // An import does not touch the lock of a user.
    on_conflict: "ON CONFLICT (id) DO UPDATE SET blocked_at = excluded.blocked_at, profile = excluded.profile, \
                  metadata = excluded.metadata, version = excluded.version \
                  WHERE users.generation_id = excluded.generation_id",
};

const ROLES: BulkTable =
    BulkTable { table: "user_roles", read_from: "user_roles", columns: &["user_id", "role"], key: 1, on_conflict: "" };

/// Returns the existing users among `ids` and locks them until the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, ids: &BTreeSet<UserId>) -> Result<Vec<User>, StoreError> {
    let keys: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    bulk::select_rows_for_update(tx, &BULK, &keys)
}

/// Inserts new users and overwrites existing ones, including their versions. Callers pass the users
/// in the order of their ids, so that concurrent changes cannot deadlock. Returns `Conflict` if a
/// concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, users: &[User]) -> Result<(), StoreError> {
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            json!({
                "id": user.id,
                "generation_id": user.generation_id,
                "blocked_at": user.blocked_at.map(Timestamp::millis),
                "locked_at": user.locked_at.map(Timestamp::millis),
                "lock_reason": user.lock_reason,
                "profile": user.profile.to_json(),
                "metadata": user.metadata.to_json(),
                "created_at": user.created_at.millis(),
                "version": user.version,
            })
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())?;
    replace_roles(tx, users)
}

/// Returns a page of users, newest first. The cursor is the generation id, which contains the
/// creation time.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<User>, StoreError> {
    let query = users_with_roles::table.select(User::as_select()).into_boxed();
    load_page!(connection, query, page, users_with_roles::generation_id, lt, desc, |user: &User| user
        .generation_id
        .to_string())
}
