//! Reads and writes many rows in one statement, in the form of each database.

use crate::{
    domain::{
        common::{derived_id::CredentialId, id::KeyId, time::Timestamp},
        exchange::usage::UtcDay,
    },
    store::{error::StoreError, pool::Conn},
};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use diesel::{deserialize::QueryableByName, pg::Pg, sqlite::Sqlite};
use serde::Serialize;
use serde_json::Value;

/// Writes many last-used times in one statement. A stored time is never replaced by an earlier one.
/// PostgreSQL writes the rows in the order of their ids, so that two replicas cannot deadlock.
pub fn upsert_last_used_times(connection: &mut Conn, used: &[(CredentialId, Timestamp)]) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(inner) => {
            let rows: Vec<_> = used.iter().map(|(id, at)| (id.as_str(), at.millis())).collect();
            let json = serde_json::to_string(&rows)?;
            // Without a WHERE clause, SQLite parses ON CONFLICT as a join constraint.
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

/// A table whose rows are read and written in bulk.
pub struct BulkTable {
    pub table: &'static str,
    /// The table or view that the rows are read from.
    pub read_from: &'static str,
    /// The columns and their PostgreSQL types, which SQLite does not need. The first `key` columns
    /// are the primary key.
    pub columns: &'static [(&'static str, &'static str)],
    pub key: usize,
    /// The ON CONFLICT clause for rows that exist already. May be empty.
    pub on_conflict: &'static str,
}

/// Returns the rows with these keys, in the order of the keys, and locks them until the end of the
/// change. Each key serializes to an object whose members are the key columns.
pub fn select_rows_for_update<R>(
    connection: &mut Conn,
    bulk: &BulkTable,
    keys: &impl Serialize,
) -> Result<Vec<R>, StoreError>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    let json = serde_json::to_string(keys)?;
    match connection {
        Conn::Sqlite(inner) => {
            let from = bulk.read_from;
            let (on, order) = (bulk.join_keys(from, " AND ", "given.value ->> '{}'"), bulk.key_columns(from));
            // CROSS JOIN makes SQLite look up each key instead of scanning the table.
            let query =
                format!("SELECT {from}.* FROM json_each(?) AS given CROSS JOIN {from} ON {on} ORDER BY {order}");
            Ok(diesel::sql_query(query).bind::<Text, _>(json).load(inner)?)
        }
        Conn::Postgres(inner) => {
            // The rows are read after they are locked: the roles in the same statement as the lock
            // would be those from before it. Only locked rows are read: a row that is committed
            // between the two statements is not locked, and must appear as one that does not exist.
            let (table, from) = (bulk.table, bulk.read_from);
            let lock = format!(
                "SELECT COALESCE(json_agg(locked), '[]')::TEXT AS keys FROM (SELECT {keys} FROM {} ORDER BY {keys} FOR UPDATE OF {table}) AS locked",
                bulk.rows_with_given_keys(table),
                keys = bulk.key_columns(table)
            );
            let locked: LockedKeys = diesel::sql_query(lock).bind::<Text, _>(json).get_result(inner)?;
            let query =
                format!("SELECT {from}.* FROM {} ORDER BY {}", bulk.rows_with_given_keys(from), bulk.key_columns(from));
            Ok(diesel::sql_query(query).bind::<Text, _>(locked.keys).load(inner)?)
        }
    }
}

/// The keys of the locked rows, as a JSON array of objects.
#[derive(QueryableByName)]
struct LockedKeys {
    #[diesel(sql_type = Text)]
    keys: String,
}

/// Deletes the rows with these keys, which may be the first key columns only.
pub fn delete_rows(connection: &mut Conn, bulk: &BulkTable, keys: &impl Serialize) -> Result<(), StoreError> {
    let json = serde_json::to_string(keys)?;
    let table = bulk.table;
    let query = match connection {
        Conn::Sqlite(_) => {
            let columns: Vec<_> = bulk.columns[..bulk.key].iter().map(|(name, _)| *name).collect();
            let given: Vec<_> = columns.iter().map(|name| format!("value ->> '{name}'")).collect();
            let (columns, given) = (columns.join(", "), given.join(", "));
            format!("DELETE FROM {table} WHERE ({columns}) IN (SELECT {given} FROM json_each(?))")
        }
        // With arrays the planner uses the index, regardless of its estimate of the table size.
        Conn::Postgres(_) => {
            let given = bulk.given_keys();
            let names = || bulk.columns[..bulk.key].iter().map(|(name, _)| *name);
            let in_index: Vec<_> =
                names().map(|name| format!("{name} = ANY (ARRAY (SELECT given.{name} FROM {given}))")).collect();
            let (columns, in_index) = (names().collect::<Vec<_>>().join(", "), in_index.join(" AND "));
            format!("DELETE FROM {table} WHERE {in_index} AND ({columns}) IN (SELECT {columns} FROM {given})")
        }
    };
    diesel::sql_query(query).bind::<Text, _>(json).execute(connection)?;
    Ok(())
}

impl BulkTable {
    fn key_columns(&self, table: &str) -> String {
        let names: Vec<_> = self.columns[..self.key].iter().map(|(name, _)| format!("{table}.{name}")).collect();
        names.join(", ")
    }

    /// Compares each key column with `given`, in which `{}` is replaced by the name of the column.
    fn join_keys(&self, table: &str, between: &str, given: &str) -> String {
        let equal = |(name, _): &(&str, &str)| format!("{table}.{name} = {}", given.replace("{}", name));
        self.columns[..self.key].iter().map(equal).collect::<Vec<_>>().join(between)
    }

    /// The given keys as a table of PostgreSQL.
    fn given_keys(&self) -> String {
        let columns: Vec<_> = self.columns[..self.key].iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        format!("json_to_recordset($1::JSON) AS given ({})", columns.join(", "))
    }

    /// The rows of `table` with the given keys, on PostgreSQL. With an array the planner uses the
    /// index, regardless of its estimate of the table size.
    fn rows_with_given_keys(&self, table: &str) -> String {
        let given = self.given_keys();
        match &self.columns[..self.key] {
            [(name, _)] => format!("{table} WHERE {table}.{name} = ANY (ARRAY (SELECT given.{name} FROM {given}))"),
            _ => format!("{given} JOIN {table} ON {}", self.join_keys(table, " AND ", "given.{}")),
        }
    }
}

/// Writes many rows in one statement and returns how many were written. The rows are passed as one
/// JSON array of objects whose members are the columns.
pub fn upsert_rows(connection: &mut Conn, bulk: &BulkTable, rows: &impl Serialize) -> Result<usize, StoreError> {
    let json = serde_json::to_string(rows)?;
    let joined = |one: &dyn Fn(&str, &str) -> String| {
        bulk.columns.iter().map(|(name, kind)| one(name, kind)).collect::<Vec<_>>().join(", ")
    };
    let names = joined(&|name, _| name.to_owned());
    let (table, on_conflict) = (bulk.table, bulk.on_conflict);
    let values = match connection {
        // Without the WHERE clause, SQLite parses ON CONFLICT as a join constraint.
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

/// Inserts many rows in one statement.
pub fn insert_rows(connection: &mut Conn, bulk: &BulkTable, rows: &[Value]) -> Result<(), StoreError> {
    if !rows.is_empty() {
        upsert_rows(connection, bulk, &rows)?;
    }
    Ok(())
}

/// Adds to the usage counts of many keys in one statement. PostgreSQL writes the rows in the order
/// of keys and days, so that two replicas cannot deadlock.
pub fn increment_usage_counts(connection: &mut Conn, uses: &[((KeyId, UtcDay), i64)]) -> Result<(), StoreError> {
    match connection {
        Conn::Sqlite(inner) => {
            let rows: Vec<_> = uses.iter().map(|((key, day), uses)| (key.as_str(), day.number(), uses)).collect();
            let json = serde_json::to_string(&rows)?;
            // Without a WHERE clause, SQLite parses ON CONFLICT as a join constraint.
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
