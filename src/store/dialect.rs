//! Where the two databases differ. Everything else is written once.
#![expect(clippy::disallowed_methods, reason = "the one file that writes SQL by hand")]

use diesel::{
    PgConnection, Queryable, QueryableByName, RunQueryDsl, SqliteConnection,
    connection::DefaultLoadingMode,
    pg::{Pg, PgRowByRowLoadingMode},
    query_dsl::LoadQuery,
    sql_types::{Array, BigInt, Integer, Nullable, Text},
    sqlite::Sqlite,
};
use serde::Serialize;

use crate::domain::{
    id::{CredentialId, KeyId},
    time::Timestamp,
    usage::Day,
};

use super::{connection::Conn, error::StoreError};

/// Takes SQLite's write lock at the start of a change: a transaction that reads first and writes later would fail at once when
/// another wrote in between, whatever the busy timeout. PostgreSQL locks rows as they are touched.
pub fn begin_change(connection: &mut Conn) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(_) => {
            diesel::sql_query("UPDATE event_head SET seq = seq WHERE id = 1").execute(connection)?;
        }
        Conn::Postgres(_) => {}
    }
    Ok(())
}

/// Makes a connection ready for nothing but look-ups by primary keys, or as it was. PostgreSQL plans a prepared statement once and for all then,
/// and does not look at each time's values first: that takes longer than the look-up does, and finds the same plan. SQLite keeps the
/// upper levels of its trees in memory, for some millions of keys.
pub fn prepare_for_look_ups(connection: &mut Conn, ready: bool) -> Result<(), StoreError> {
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

/// Waits until no other change holds the lock `name`; it is released with the transaction. SQLite has one writer at a time
/// anyway.
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
struct Locked {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    locked: bool,
}

/// Takes the lock `name` if no other change holds it, and says whether it did.
pub fn try_lock(connection: &mut Conn, name: i64) -> Result<bool, StoreError> {
    match connection {
        Conn::Sqlite(_) => Ok(true),
        Conn::Postgres(inner) => {
            let query = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS locked").bind::<BigInt, _>(name);
            let row: Locked = query.get_result(inner)?;
            Ok(row.locked)
        }
    }
}

/// Whether there is such a table.
pub fn has_table(connection: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let query = match connection {
        Conn::Sqlite(_) => "SELECT name AS value FROM sqlite_master WHERE type = 'table' AND name = ?",
        // Where an unqualified name is looked for, and nowhere else.
        Conn::Postgres(_) => "SELECT to_regclass($1)::TEXT AS value WHERE to_regclass($1) IS NOT NULL",
    };
    let found: Vec<Setting> = diesel::sql_query(query).bind::<Text, _>(name).load(connection)?;
    Ok(!found.is_empty())
}

/// Writes many last-used times in one statement; a time never moves back. In the order of their ids, so that two replicas that write together
/// cannot deadlock.
pub fn note_uses(connection: &mut Conn, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(inner) => {
            let rows: Vec<_> = used.iter().map(|(id, at)| (id.as_str(), at.millis())).collect();
            let json = serde_json::to_string(&rows).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            // Without a WHERE, SQLite reads ON CONFLICT as part of a join.
            diesel::sql_query(
                "INSERT INTO credential_uses (credential_id, last_used_at) \
                 SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE TRUE \
                 ON CONFLICT (credential_id) DO UPDATE SET last_used_at = excluded.last_used_at \
                 WHERE excluded.last_used_at > credential_uses.last_used_at",
            )
            .bind::<Text, _>(json)
            .execute(inner)?;
        }
        Conn::Postgres(inner) => {
            let ids: Vec<_> = used.iter().map(|(id, _)| id.as_str()).collect();
            let times: Vec<_> = used.iter().map(|(_, at)| at.millis()).collect();
            diesel::sql_query(
                "INSERT INTO credential_uses (credential_id, last_used_at) \
                 SELECT * FROM unnest($1, $2) AS used (id, at) ORDER BY id \
                 ON CONFLICT (credential_id) DO UPDATE SET last_used_at = excluded.last_used_at \
                 WHERE excluded.last_used_at > credential_uses.last_used_at",
            )
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<BigInt>, _>(times)
            .execute(inner)?;
        }
    }
    Ok(())
}

/// Keys that are dead, as far as it stands on them.
#[derive(Debug, Clone, Copy)]
pub enum Dead {
    Revoked,
    Expired,
    /// And it was told of.
    EndedWithOwner,
    /// The same, where it was the member who made an organization's key.
    EndedWithCreator,
    Suspended,
}

/// Where the status of a credential stands.
#[derive(Queryable, QueryableByName)]
pub struct StatusRow {
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub status_list: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub status_index: Option<i32>,
}

/// The credentials of dead keys: from an index of nothing but those to their credentials, one by one, whatever the planner thinks of the
/// size of the tables.
pub fn each_credential_of(
    connection: &mut Conn,
    dead: Dead,
    now: Timestamp,
    with: impl FnMut(StatusRow),
) -> Result<(), StoreError> {
    let is_dead = match dead {
        Dead::Revoked => "revoked_at IS NOT NULL".to_owned(),
        Dead::Expired => format!("expires_at <= {}", now.millis()),
        Dead::EndedWithOwner => "ended_with IS NOT NULL AND ended_with <> 'creator_left'".to_owned(),
        Dead::EndedWithCreator => "ended_with IS NOT NULL AND ended_with = 'creator_left'".to_owned(),
        Dead::Suspended => "suspended_at IS NOT NULL".to_owned(),
    };
    let keys = format!("SELECT id FROM api_keys WHERE {is_dead}");
    let keys = match connection {
        Conn::Sqlite(_) => format!("IN ({keys})"),
        Conn::Postgres(_) => format!("= ANY (ARRAY ({keys}))"),
    };
    let query = format!("SELECT id, status_list, status_index FROM credentials WHERE key_id {keys}");
    each(connection, diesel::sql_query(query), with)
}

/// Goes through what may be millions of rows, without holding more than one of them.
pub fn each<Q, R>(connection: &mut Conn, query: Q, mut with: impl FnMut(R)) -> Result<(), StoreError>
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

/// A table whose rows are read and written many at once.
pub struct Bulk {
    pub table: &'static str,
    /// With their types in PostgreSQL; SQLite takes what it is given. Those of the key come first.
    pub columns: &'static [(&'static str, &'static str)],
    pub key: usize,
    /// What happens to a row that is there already.
    pub on_conflict: &'static str,
}

/// The rows with these keys, in the order of the keys; no other change can touch them until this one ends. A key is an object that names
/// its columns.
pub fn rows_for_change<R>(connection: &mut Conn, bulk: &Bulk, keys: &impl Serialize) -> Result<Vec<R>, StoreError>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    let json = serde_json::to_string(keys).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let (table, key) = (bulk.table, &bulk.columns[..bulk.key]);
    let joined = |one: &dyn Fn(&str, &str) -> String, between: &str| {
        key.iter().map(|(name, kind)| one(name, kind)).collect::<Vec<_>>().join(between)
    };
    let order = joined(&|name, _| format!("{table}.{name}"), ", ");
    match connection {
        Conn::Sqlite(inner) => {
            let on = joined(&|name, _| format!("{table}.{name} = given.value ->> '{name}'"), " AND ");
            // CROSS: from what is asked for to the rows, and never through the whole table.
            let query =
                format!("SELECT {table}.* FROM json_each(?) AS given CROSS JOIN {table} ON {on} ORDER BY {order}");
            Ok(diesel::sql_query(query).bind::<Text, _>(json).load(inner)?)
        }
        Conn::Postgres(inner) => {
            let on = joined(&|name, _| format!("{table}.{name} = given.{name}"), " AND ");
            let given = format!(
                "json_to_recordset($1::JSON) AS given ({})",
                joined(&|name, kind| format!("{name} {kind}"), ", ")
            );
            // An array is looked up by the index whatever the planner thinks of the size of the table.
            let rows = match key {
                [(name, _)] => format!("{table} WHERE {name} = ANY (ARRAY (SELECT given.{name} FROM {given}))"),
                _ => format!("{given} JOIN {table} ON {on}"),
            };
            let query = format!("SELECT {table}.* FROM {rows} ORDER BY {order} FOR UPDATE OF {table}");
            Ok(diesel::sql_query(query).bind::<Text, _>(json).load(inner)?)
        }
    }
}

/// Writes many rows in one statement, and says how many were written. They travel as one JSON text; each is an object that names its
/// columns.
pub fn write_rows(connection: &mut Conn, bulk: &Bulk, rows: &impl Serialize) -> Result<usize, StoreError> {
    let json = serde_json::to_string(rows).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let joined = |one: &dyn Fn(&str, &str) -> String| {
        bulk.columns.iter().map(|(name, kind)| one(name, kind)).collect::<Vec<_>>().join(", ")
    };
    let names = joined(&|name, _| name.to_owned());
    let (table, on_conflict) = (bulk.table, bulk.on_conflict);
    let values = match connection {
        // Without the WHERE, SQLite reads ON CONFLICT as the ON of a join.
        Conn::Sqlite(_) => {
            format!("SELECT {} FROM json_each(?) WHERE TRUE", joined(&|name, _| format!("value ->> '{name}'")))
        }
        Conn::Postgres(_) => {
            let given = joined(&|name, kind| format!("{name} {kind}"));
            format!("SELECT {names} FROM json_to_recordset($1::JSON) AS given ({given})")
        }
    };
    let query = format!("INSERT INTO {table} ({names}) {values} {on_conflict}");
    Ok(diesel::sql_query(query).bind::<Text, _>(json).execute(connection)?)
}

#[derive(diesel::QueryableByName)]
struct Taken {
    #[diesel(sql_type = BigInt)]
    exchanges: i64,
}

/// Counts an exchange in `minute`, unless `limit` of them are counted there, and says how many are. One statement: the row is locked
/// while it is looked at. Who waited for it may come with a minute that is over, and is counted in the one that has begun; a clock that
/// was set back further than that begins anew.
pub fn take_exchange(connection: &mut Conn, key: &KeyId, minute: i64, limit: u32) -> Result<Option<i64>, StoreError> {
    let query = diesel::sql_query(
        "INSERT INTO key_windows (key_id, minute, exchanges) VALUES ($1, $2, 1) \
         ON CONFLICT (key_id) DO UPDATE SET \
         exchanges = CASE WHEN key_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         THEN key_windows.exchanges + 1 ELSE 1 END, \
         minute = CASE WHEN key_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         THEN key_windows.minute ELSE excluded.minute END \
         WHERE key_windows.exchanges < $3 OR NOT key_windows.minute BETWEEN excluded.minute AND excluded.minute + 1 \
         RETURNING exchanges",
    );
    let query = query.bind::<Text, _>(key.as_str()).bind::<BigInt, _>(minute).bind::<BigInt, _>(i64::from(limit));
    let taken: Vec<Taken> = query.load(connection)?;
    Ok(taken.first().map(|taken| taken.exchanges))
}

/// Adds to the uses of many keys in one statement, row by row in the order of keys and days: two replicas that flush together cannot
/// deadlock.
pub fn add_usage(connection: &mut Conn, uses: &[((KeyId, Day), i64)]) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(inner) => {
            let rows: Vec<_> = uses.iter().map(|((key, day), uses)| (key.as_str(), day.number(), uses)).collect();
            let json = serde_json::to_string(&rows).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            // Without a WHERE, SQLite reads ON CONFLICT as part of a join.
            diesel::sql_query(
                "INSERT INTO key_usage (key_id, day, uses) \
                 SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE \
                 ON CONFLICT (key_id, day) DO UPDATE SET uses = key_usage.uses + excluded.uses",
            )
            .bind::<Text, _>(json)
            .execute(inner)?;
        }
        Conn::Postgres(inner) => {
            let keys: Vec<_> = uses.iter().map(|((key, _), _)| key.as_str()).collect();
            let days: Vec<_> = uses.iter().map(|((_, day), _)| day.number()).collect();
            let counts: Vec<_> = uses.iter().map(|(_, uses)| *uses).collect();
            diesel::sql_query(
                "INSERT INTO key_usage (key_id, day, uses) \
                 SELECT * FROM unnest($1, $2, $3) AS used (key_id, day, uses) ORDER BY key_id, day \
                 ON CONFLICT (key_id, day) DO UPDATE SET uses = key_usage.uses + excluded.uses",
            )
            .bind::<Array<Text>, _>(keys)
            .bind::<Array<BigInt>, _>(days)
            .bind::<Array<BigInt>, _>(counts)
            .execute(inner)?;
        }
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Settings of the database under which an acknowledged change can be lost (design rule 3); empty when there are none.
pub fn durability_faults(connection: &mut Conn) -> Result<Vec<String>, StoreError> {
    match connection {
        // Set on every connection that is made; nothing outside can change it.
        Conn::Sqlite(_) => Ok(Vec::new()),
        Conn::Postgres(inner) => ["fsync", "synchronous_commit", "full_page_writes"]
            .into_iter()
            .filter_map(|name| {
                let query = format!("SELECT current_setting('{name}') AS value");
                match diesel::sql_query(query).get_result::<Setting>(inner) {
                    Ok(setting) if setting.value == "off" => Some(Ok(format!("{name} = off"))),
                    Ok(_) => None,
                    Err(error) => Some(Err(error.into())),
                }
            })
            .collect(),
    }
}
