//! Users.

use std::collections::BTreeSet;

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, QueryableByName, RunQueryDsl, Selectable,
    SelectableHelper,
};
use serde::Serialize;
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
        access::roles::parse_role_set,
        columns::{parsed, parsed_metadata},
        dialect::bulk::{self, BulkTable},
        directory::organizations::require_all_rows_written,
        error::StoreError,
        pool::Conn,
        schema::users,
        transaction::Tx,
    },
};

#[derive(Queryable, QueryableByName, Selectable, Serialize)]
#[diesel(table_name = users)]
struct Row {
    id: String,
    generation_id: String,
    blocked_at: Option<i64>,
    profile: String,
    metadata: String,
    roles: String,
    created_at: i64,
    version: i64,
}

/// Returns `Conflict` if the user exists.
pub fn insert(tx: &mut Tx<'_>, user: &User) -> Result<(), StoreError> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(user.id.as_str()),
            users::generation_id.eq(user.generation_id.as_str()),
            users::blocked_at.eq(user.blocked_at.map(Timestamp::millis)),
            users::profile.eq(user.profile.to_json()),
            users::metadata.eq(user.metadata.to_json()),
            users::roles.eq(user.roles.to_string()),
            users::created_at.eq(user.created_at.millis()),
            users::version.eq(user.version),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn update(tx: &mut Tx<'_>, user: &User) -> Result<(), StoreError> {
    diesel::update(users::table.find(user.id.as_str()))
        .set((
            users::blocked_at.eq(user.blocked_at.map(Timestamp::millis)),
            users::profile.eq(user.profile.to_json()),
            users::metadata.eq(user.metadata.to_json()),
            users::roles.eq(user.roles.to_string()),
            users::version.eq(users::version + 1),
        ))
        .execute(&mut **tx)?;
    Ok(())
}

pub fn delete(tx: &mut Tx<'_>, id: &UserId) -> Result<(), StoreError> {
    diesel::delete(users::table.find(id.as_str())).execute(&mut **tx)?;
    Ok(())
}

pub fn find(connection: &mut Conn, id: &UserId) -> Result<Option<User>, StoreError> {
    let row: Option<Row> = users::table.find(id.as_str()).select(Row::as_select()).first(connection).optional()?;
    row.map(user).transpose()
}

/// Like `find`, but locks the user until the end of the change.
pub fn find_for_change(tx: &mut Tx<'_>, id: &UserId) -> Result<Option<User>, StoreError> {
    diesel::update(users::table.find(id.as_str())).set(users::version.eq(users::version)).execute(&mut **tx)?;
    find(tx, id)
}

const BULK: BulkTable = BulkTable {
    table: "users",
    columns: &[
        ("id", "TEXT"),
        ("generation_id", "TEXT"),
        ("blocked_at", "BIGINT"),
        ("profile", "TEXT"),
        ("metadata", "TEXT"),
        ("roles", "TEXT"),
        ("created_at", "BIGINT"),
        ("version", "BIGINT"),
    ],
    key: 1,
    on_conflict: "ON CONFLICT (id) DO UPDATE SET blocked_at = excluded.blocked_at, profile = excluded.profile, \
                  metadata = excluded.metadata, roles = excluded.roles, version = excluded.version \
                  WHERE users.generation_id = excluded.generation_id",
};

/// Returns the existing users among `ids` and locks them until the end of the change.
pub fn find_many_for_update(tx: &mut Tx<'_>, ids: &BTreeSet<UserId>) -> Result<Vec<User>, StoreError> {
    let keys: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    let rows: Vec<Row> = if keys.is_empty() { Vec::new() } else { bulk::select_rows_for_update(tx, &BULK, &keys)? };
    rows.into_iter().map(user).collect()
}

/// Inserts new users and overwrites existing ones, including their versions. Callers pass the users
/// in the order of their ids, so that concurrent changes cannot deadlock. Returns `Conflict` if a
/// concurrent change has created one of them.
pub fn upsert_many(tx: &mut Tx<'_>, users: &[User]) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = users
        .iter()
        .map(|user| Row {
            id: user.id.to_string(),
            generation_id: user.generation_id.to_string(),
            blocked_at: user.blocked_at.map(Timestamp::millis),
            profile: user.profile.to_json(),
            metadata: user.metadata.to_json(),
            roles: user.roles.to_string(),
            created_at: user.created_at.millis(),
            version: user.version,
        })
        .collect();
    require_all_rows_written(bulk::upsert_rows(tx, &BULK, &rows)?, rows.len())
}

/// Returns a page of users, newest first. The cursor is the generation id, which contains the
/// creation time.
pub fn list(connection: &mut Conn, page: &PageRequest) -> Result<Page<User>, StoreError> {
    let mut query = users::table.select(Row::as_select()).into_boxed();
    if let Some(after) = &page.cursor {
        query = query.filter(users::generation_id.lt(after.clone()));
    }
    let rows: Vec<Row> = query.order(users::generation_id.desc()).limit(page.limit + 1).load(connection)?;
    let found = rows.into_iter().map(user).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::from_rows(found, page.limit, |user| user.generation_id.to_string()))
}

fn user(row: Row) -> Result<User, StoreError> {
    Ok(User {
        id: parsed("user id", &row.id)?,
        generation_id: parsed("generation id", &row.generation_id)?,
        blocked_at: row.blocked_at.map(Timestamp::from_millis),
        profile: parsed_metadata(&row.profile)?,
        metadata: parsed_metadata(&row.metadata)?,
        roles: parse_role_set(&row.roles)?,
        created_at: Timestamp::from_millis(row.created_at),
        version: row.version,
    })
}
