//! Hand-written SQL, and the statements that differ between PostgreSQL and SQLite.
#![expect(clippy::disallowed_methods, reason = "this file writes SQL by hand")]

pub mod bulk;
pub mod server;
pub mod usage;

use diesel::{
    PgConnection, Queryable, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::DefaultLoadingMode,
    pg::PgRowByRowLoadingMode,
    query_dsl::LoadQuery,
    sql_types::{BigInt, Integer, Nullable, Text},
};

use crate::{
    domain::common::{id::KeyId, time::Timestamp},
    store::{error::StoreError, pool::Conn},
};

/// Takes SQLite's write lock at the start of a change. Otherwise a transaction that reads first and
/// writes later fails at once if another connection wrote in between, regardless of the busy
/// timeout. PostgreSQL locks each row when it is written.
pub fn acquire_sqlite_write_lock(connection: &mut Conn) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(_) => {
            diesel::sql_query("UPDATE event_chain_head SET seq = seq WHERE id = 1").execute(connection)?;
        }
        Conn::Postgres(_) => {}
    }
    Ok(())
}

/// Prepares a connection for primary-key lookups only, or restores its defaults. On PostgreSQL this
/// forces generic plans: planning with the parameter values takes longer than the lookup and finds
/// the same plan. On SQLite this enlarges the page cache, which then holds the upper levels of the
/// B-trees for some millions of keys.
pub fn set_lookup_mode(connection: &mut Conn, ready: bool) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(inner) => {
            let kibibytes = if ready { 8192 } else { 2000 };
            diesel::sql_query(format!("PRAGMA cache_size = -{kibibytes}")).execute(inner)?;
        }
        Conn::Postgres(inner) => {
            let mode = if ready { "force_generic_plan" } else { "auto" };
            diesel::sql_query(format!("SET plan_cache_mode = {mode}")).execute(inner)?;
        }
    }
    Ok(())
}

/// Waits for the advisory lock `name`, which is released at the end of the transaction. SQLite
/// needs no lock, because it allows one writer at a time.
pub fn lock(connection: &mut Conn, name: i64) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(_) => {}
        Conn::Postgres(inner) => {
            diesel::sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(name).execute(inner)?;
        }
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct LockResult {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    locked: bool,
}

/// Takes the advisory lock `name` if no other transaction holds it, and returns whether it did.
pub fn try_lock(connection: &mut Conn, name: i64) -> Result<bool, StoreError> {
    match connection {
        Conn::Sqlite(_) => Ok(true),
        Conn::Postgres(inner) => {
            let query = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS locked").bind::<BigInt, _>(name);
            let row: LockResult = query.get_result(inner)?;
            Ok(row.locked)
        }
    }
}

pub fn has_table(connection: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let query = match connection {
        Conn::Sqlite(_) => "SELECT name AS value FROM sqlite_master WHERE type = 'table' AND name = ?",
        // `to_regclass` searches only the schemas in which an unqualified name is resolved.
        Conn::Postgres(_) => "SELECT to_regclass($1)::TEXT AS value WHERE to_regclass($1) IS NOT NULL",
    };
    let found: Vec<SettingRow> = diesel::sql_query(query).bind::<Text, _>(name).load(connection)?;
    Ok(!found.is_empty())
}

/// A condition stored with a key under which the key is not in force.
#[derive(Debug, Clone, Copy)]
pub enum InactiveReason {
    Revoked,
    Expired,
    /// The owner was deleted, and the event for this key has been recorded.
    OwnerDeleted,
    /// The member who created the organization's key has left, and the event has been recorded.
    CreatorLeft,
    Suspended,
}

/// A credential and its status list index.
#[derive(Queryable, QueryableByName)]
pub struct CredentialStatusIndexRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub status_list: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub status_index: Option<i32>,
}

/// Calls `with` for each credential of the keys that meet the condition. The query starts at a
/// partial index for the condition and then looks up the credentials of each key, regardless of the
/// planner's estimate of the table sizes.
pub fn for_each_inactive_credential(
    connection: &mut Conn,
    dead: InactiveReason,
    now: Timestamp,
    with: impl FnMut(CredentialStatusIndexRow),
) -> Result<(), StoreError> {
    let is_dead = match dead {
        InactiveReason::Revoked => "revoked_at IS NOT NULL".to_owned(),
        InactiveReason::Expired => format!("expires_at <= {}", now.millis()),
        InactiveReason::OwnerDeleted => "ended_with IS NOT NULL AND ended_with <> 'creator_left'".to_owned(),
        InactiveReason::CreatorLeft => "ended_with IS NOT NULL AND ended_with = 'creator_left'".to_owned(),
        InactiveReason::Suspended => "suspended_at IS NOT NULL".to_owned(),
    };
    let keys = format!("SELECT id FROM api_keys WHERE {is_dead}");
    let keys = match connection {
        Conn::Sqlite(_) => format!("IN ({keys})"),
        Conn::Postgres(_) => format!("= ANY (ARRAY ({keys}))"),
    };
    let query = format!("SELECT id, status_list, status_index FROM credentials WHERE key_id {keys}");
    for_each_row(connection, diesel::sql_query(query), with)
}

/// Returns the ids of the keys that were created with `key`, directly or with such keys, without
/// those that are revoked or whose end with their owner is recorded. A key that ended with its
/// creator is included, because this end depends on a setting. Keys are found through revoked keys
/// as well.
pub fn find_descendants(connection: &mut Conn, key: &KeyId, limit: i64) -> Result<Vec<String>, StoreError> {
    // UNION keeps each id once, so that the recursion ends.
    let query = diesel::sql_query(
        "WITH RECURSIVE descendants (id) AS (SELECT id FROM api_keys WHERE creator_key_id = $1 \
         UNION SELECT k.id FROM descendants JOIN api_keys k ON k.creator_key_id = descendants.id) \
         SELECT k.id AS value FROM descendants JOIN api_keys k ON k.id = descendants.id \
         WHERE k.revoked_at IS NULL AND (k.ended_with IS NULL OR k.ended_with = 'creator_left') \
         ORDER BY k.id LIMIT $2",
    );
    let found: Vec<SettingRow> = query.bind::<Text, _>(key.as_str()).bind::<BigInt, _>(limit).load(connection)?;
    Ok(found.into_iter().map(|row| row.value).collect())
}

/// The keys that a quota counts.
#[derive(Debug, Clone, Copy)]
pub enum CountedKeys<'a> {
    /// Keys of a user with this generation id, and of the service clients of the user.
    User { id: &'a str, generation_id: &'a str },
    /// Keys of an owner that belongs to the organization with this generation id.
    Owner { id: &'a str, generation_id: &'a str },
    /// Keys of a service client of the account.
    AccountClient(&'a str),
    /// All keys within an organization.
    Organization(&'a str),
}

#[derive(diesel::QueryableByName)]
struct KeyCountRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Counts the keys that are neither revoked nor expired at `now`, without those whose end with
/// their owner or creator is recorded. A key that ended with its creator is not counted again if
/// `api_keys.end_with_creator` is switched off, which puts it in force again. Keys with and without
/// an expiration are two ranges of an index. Each is read up to `max` entries, so the result is
/// exact only below `max`.
pub fn count_keys_in_force(
    connection: &mut Conn,
    keys: CountedKeys<'_>,
    now: Timestamp,
    max: i64,
) -> Result<i64, StoreError> {
    // SQLite numbers parameters by their first occurrence, so they occur in the order of their
    // numbers.
    let (condition, limit, time) = match keys {
        CountedKeys::User { .. } => ("user_id = $1 AND generation_id = $2", "$3", "$4"),
        CountedKeys::Owner { .. } => ("owner_id = $1 AND generation_id = $2 AND user_id IS NULL", "$3", "$4"),
        CountedKeys::AccountClient(_) => ("owner_id = $1 AND generation_id IS NULL AND user_id IS NULL", "$2", "$3"),
        CountedKeys::Organization(_) => ("organization_id = $1", "$2", "$3"),
    };
    let count = |expiration: &str| {
        format!(
            "(SELECT COUNT(*) FROM (SELECT 1 FROM api_keys WHERE {condition} AND revoked_at IS NULL AND ended_with IS NULL \
             AND {expiration} LIMIT {limit}) AS given)"
        )
    };
    let (unlimited, expiring) = (count("expires_at IS NULL"), count(&format!("expires_at > {time}")));
    let query = diesel::sql_query(format!("SELECT {unlimited} + {expiring} AS number"));
    let rows: Vec<KeyCountRow> = match keys {
        CountedKeys::User { id, generation_id } | CountedKeys::Owner { id, generation_id } => query
            .bind::<Text, _>(id)
            .bind::<Text, _>(generation_id)
            .bind::<BigInt, _>(max)
            .bind::<BigInt, _>(now.millis())
            .load(connection)?,
        CountedKeys::AccountClient(id) | CountedKeys::Organization(id) => {
            query.bind::<Text, _>(id).bind::<BigInt, _>(max).bind::<BigInt, _>(now.millis()).load(connection)?
        }
    };
    Ok(rows.first().map_or(0, |row| row.number))
}

/// Calls `with` for each row of a result that may have millions of rows. At most one row is in
/// memory at a time.
pub fn for_each_row<Q, R>(connection: &mut Conn, query: Q, mut with: impl FnMut(R)) -> Result<(), StoreError>
where
    for<'c> Q: LoadQuery<'c, SqliteConnection, R> + LoadQuery<'c, PgConnection, R, PgRowByRowLoadingMode>,
{
    match connection {
        Conn::Sqlite(inner) => {
            for row in query.load_iter::<R, DefaultLoadingMode>(inner)? {
                with(row?);
            }
        }
        Conn::Postgres(inner) => {
            for row in query.load_iter::<R, PgRowByRowLoadingMode>(inner)? {
                with(row?);
            }
        }
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct ExchangeCountRow {
    #[diesel(sql_type = BigInt)]
    exchanges: i64,
}

/// Counts an exchange in `minute` and returns the new count, or `None` if `limit` exchanges are
/// already counted. A single statement compares and counts while it holds the row lock.
///
/// A transaction that waited for the lock may pass a minute that has ended; its exchange is counted
/// in the minute that has begun. The count restarts in a later minute, and when the clock was set
/// back by more than one minute.
pub fn increment_rate_limit_window(
    connection: &mut Conn,
    key: &KeyId,
    minute: i64,
    limit: u32,
) -> Result<Option<i64>, StoreError> {
    let query = diesel::sql_query(
        "INSERT INTO rate_limit_windows (key_id, minute, exchanges) VALUES ($1, $2, 1) \
         ON CONFLICT (key_id) DO UPDATE SET \
         exchanges = CASE WHEN rate_limit_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         THEN rate_limit_windows.exchanges + 1 ELSE 1 END, \
         minute = CASE WHEN rate_limit_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         THEN rate_limit_windows.minute ELSE excluded.minute END \
         WHERE rate_limit_windows.exchanges < $3 OR NOT rate_limit_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         RETURNING exchanges",
    );
    let query = query.bind::<Text, _>(key.as_str()).bind::<BigInt, _>(minute).bind::<BigInt, _>(i64::from(limit));
    let taken: Vec<ExchangeCountRow> = query.load(connection)?;
    Ok(taken.first().map(|taken| taken.exchanges))
}

#[derive(diesel::QueryableByName)]
struct SettingRow {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Returns the database settings under which an acknowledged change can be lost (invariant 3).
pub fn durability_faults(connection: &mut Conn) -> Result<Vec<String>, StoreError> {
    match connection {
        // `Manager` sets the durability settings on every SQLite connection, and nothing else
        // changes them.
        Conn::Sqlite(_) => Ok(Vec::new()),
        Conn::Postgres(inner) => ["fsync", "synchronous_commit", "full_page_writes"]
            .into_iter()
            .filter_map(|name| {
                let query = format!("SELECT current_setting('{name}') AS value");
                match diesel::sql_query(query).get_result::<SettingRow>(inner) {
                    Ok(setting) if setting.value == "off" => Some(Ok(format!("{name} = off"))),
                    Ok(_) => None,
                    Err(error) => Some(Err(error.into())),
                }
            })
            .collect(),
    }
}
