//! Reads and writes many rows in one statement, in the form of each database.

use diesel::{QueryableByName, RunQueryDsl, pg::Pg, sql_types::Text, sqlite::Sqlite};
use serde::Serialize;

use crate::store::{error::StoreError, pool::Conn, transaction::Tx};

/// A table whose rows are read and written in bulk.
pub struct BulkTable {
    pub table: &'static str,
    /// The table or view that the rows are read from.
    pub read_from: &'static str,
    /// The columns that are written. The first `key` columns are the primary key.
    pub columns: &'static [&'static str],
    pub key: usize,
    /// The ON CONFLICT clause for rows that exist already. May be empty.
    pub on_conflict: &'static str,
}

/// Returns the rows with these keys, in the order of the keys, and locks them until the end of the
/// change. Each key serializes to an object whose members are the key columns.
pub fn select_rows_for_update<R>(
    tx: &mut Tx<'_>,
    bulk: &BulkTable,
    keys: &[impl Serialize],
) -> Result<Vec<R>, StoreError>
where
    R: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
{
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    for key in keys {
        tx.check_row_order(bulk.table, key)?;
    }
    let json = serde_json::to_string(keys)?;
    let (table, from) = (bulk.table, bulk.read_from);
    let order = bulk.key_columns(&format!("{from}.{{}}"), ", ");
    match &mut **tx {
        Conn::Sqlite(inner) => {
            let on = bulk.key_columns(&format!("{from}.{{}} = given.value ->> '{{}}'"), " AND ");
            // CROSS JOIN makes SQLite look up each key instead of scanning the table.
            let query =
                format!("SELECT {from}.* FROM json_each(?) AS given CROSS JOIN {from} ON {on} ORDER BY {order}");
            Ok(diesel::sql_query(query).bind::<Text, _>(json).load(inner)?)
        }
        Conn::Postgres(inner) => {
            // The rows are read after they are locked: the roles in the same statement as the lock
            // would be those from before it. Only locked rows are read: a row that is committed
            // between the two statements is not locked, and must appear as one that does not exist.
            let lock = format!(
                "SELECT COALESCE(json_agg(locked), '[]')::TEXT AS keys FROM (SELECT {keys} FROM {} ORDER BY {keys} FOR UPDATE OF {table}) AS locked",
                bulk.rows_with_given_keys(table),
                keys = bulk.key_columns(&format!("{table}.{{}}"), ", ")
            );
            let locked: LockedKeys = diesel::sql_query(lock).bind::<Text, _>(json).get_result(inner)?;
            let query = format!("SELECT {from}.* FROM {} ORDER BY {order}", bulk.rows_with_given_keys(from));
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
pub fn delete_rows(connection: &mut Conn, bulk: &BulkTable, keys: &[impl Serialize]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_string(keys)?;
    let (table, columns) = (bulk.table, bulk.key_columns("{}", ", "));
    let query = match connection {
        Conn::Sqlite(_) => {
            let given = bulk.key_columns("value ->> '{}'", ", ");
            format!("DELETE FROM {table} WHERE ({columns}) IN (SELECT {given} FROM json_each(?))")
        }
        // With arrays the planner uses the index, regardless of its estimate of the table size.
        Conn::Postgres(_) => {
            let given = bulk.given_rows();
            let in_index = bulk.key_columns(&format!("{{}} = ANY (ARRAY (SELECT given.{{}} FROM {given}))"), " AND ");
            format!("DELETE FROM {table} WHERE {in_index} AND ({columns}) IN (SELECT {columns} FROM {given})")
        }
    };
    diesel::sql_query(query).bind::<Text, _>(json).execute(connection)?;
    Ok(())
}

/// Writes many rows and returns how many were written. Each row serializes to an object whose
/// members are the columns. PostgreSQL writes the rows in the order of their keys, so that two
/// replicas cannot deadlock.
pub fn upsert_rows(connection: &mut Conn, bulk: &BulkTable, rows: &[impl Serialize]) -> Result<usize, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let json = serde_json::to_string(rows)?;
    let (table, on_conflict) = (bulk.table, bulk.on_conflict);
    let names = bulk.columns.join(", ");
    let values = match connection {
        // Without the WHERE clause, SQLite parses ON CONFLICT as a join constraint.
        Conn::Sqlite(_) => {
            format!("SELECT {} FROM json_each(?) WHERE TRUE", fill(bulk.columns, "value ->> '{}'", ", "))
        }
        Conn::Postgres(_) => {
            format!("SELECT {names} FROM {} ORDER BY {}", bulk.given_rows(), bulk.key_columns("{}", ", "))
        }
    };
    let query = format!("INSERT INTO {table} ({names}) {values} {on_conflict}");
    Ok(diesel::sql_query(query).bind::<Text, _>(json).execute(connection)?)
}

impl BulkTable {
    /// Writes `each` for each key column.
    fn key_columns(&self, each: &str, between: &str) -> String {
        fill(&self.columns[..self.key], each, between)
    }

    /// The given rows or keys as a table of PostgreSQL. Columns that are not given are null.
    fn given_rows(&self) -> String {
        format!("json_populate_recordset(NULL::{}, $1::JSON) AS given", self.table)
    }

    /// The rows of `table` with the given keys, on PostgreSQL. With an array the planner uses the
    /// index, regardless of its estimate of the table size.
    fn rows_with_given_keys(&self, table: &str) -> String {
        let given = self.given_rows();
        match self.key {
            1 => self
                .key_columns(&format!("{table} WHERE {table}.{{}} = ANY (ARRAY (SELECT given.{{}} FROM {given}))"), ""),
            _ => {
                let on = self.key_columns(&format!("{table}.{{}} = given.{{}}"), " AND ");
                format!("{given} JOIN {table} ON {on}")
            }
        }
    }
}

/// Writes `each` for each column, with the name of the column in the place of `{}`.
fn fill(columns: &[&str], each: &str, between: &str) -> String {
    columns.iter().map(|name| each.replace("{}", name)).collect::<Vec<_>>().join(between)
}
