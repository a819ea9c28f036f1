//! Reads and writes the uses of many credentials in one statement. The rows are passed as arrays of
//! numbers on PostgreSQL, and as a JSON array of arrays on SQLite.

use diesel::{
    QueryableByName, RunQueryDsl,
    sql_types::{Array, BigInt, Text},
};

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    store::{error::StoreError, pool::Conn},
};

const COLUMNS: &str = "credential_number, last_used_at, day, uses";

/// A row of `credential_usage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct UsageRow {
    #[diesel(sql_type = BigInt)]
    pub credential_number: i64,
    #[diesel(sql_type = BigInt)]
    pub last_used_at: i64,
    #[diesel(sql_type = BigInt)]
    pub day: i64,
    #[diesel(sql_type = BigInt)]
    pub uses: i64,
}

/// What becomes of a row that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingRow {
    /// The uses are added if both are of one day. If the new row is of a later day, it replaces a
    /// row without uses. Otherwise the existing row is kept.
    Merge,
    Replace,
}

impl ExistingRow {
    const fn on_conflict(self) -> &'static str {
        match self {
            Self::Merge => {
                "ON CONFLICT (credential_number) DO UPDATE SET last_used_at = \
                 CASE WHEN credential_usage.last_used_at > excluded.last_used_at \
                 THEN credential_usage.last_used_at ELSE excluded.last_used_at END, \
                 day = excluded.day, uses = credential_usage.uses + excluded.uses \
                 WHERE credential_usage.day = excluded.day \
                 OR (credential_usage.day < excluded.day AND credential_usage.uses = 0)"
            }
            Self::Replace => {
                "ON CONFLICT (credential_number) DO UPDATE SET \
                 last_used_at = excluded.last_used_at, day = excluded.day, uses = excluded.uses"
            }
        }
    }
}

/// Writes rows and returns how many were written. PostgreSQL locks all of them in the order of
/// their numbers, also those that are kept as they are, so that two replicas cannot deadlock.
pub fn upsert_rows(connection: &mut Conn, rows: &[UsageRow], existing: ExistingRow) -> Result<usize, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let on_conflict = existing.on_conflict();
    let written = match connection {
        Conn::Sqlite(inner) => {
            let rows: Vec<_> =
                rows.iter().map(|row| [row.credential_number, row.last_used_at, row.day, row.uses]).collect();
            // Without the WHERE clause, SQLite parses ON CONFLICT as a join constraint.
            let query = format!(
                "INSERT INTO credential_usage ({COLUMNS}) \
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE {on_conflict}"
            );
            diesel::sql_query(query).bind::<Text, _>(serde_json::to_string(&rows)?).execute(inner)?
        }
        Conn::Postgres(inner) => {
            let column = |value: fn(&UsageRow) -> i64| rows.iter().map(value).collect::<Vec<i64>>();
            let query = format!(
                "INSERT INTO credential_usage ({COLUMNS}) SELECT {COLUMNS} \
                 FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) AS given ({COLUMNS}) \
                 ORDER BY credential_number {on_conflict}"
            );
            diesel::sql_query(query)
                .bind::<Array<BigInt>, _>(column(|row| row.credential_number))
                .bind::<Array<BigInt>, _>(column(|row| row.last_used_at))
                .bind::<Array<BigInt>, _>(column(|row| row.day))
                .bind::<Array<BigInt>, _>(column(|row| row.uses))
                .execute(inner)?
        }
    };
    Ok(written)
}

/// Returns the rows of these credentials.
pub fn find_rows(connection: &mut Conn, numbers: &[i64]) -> Result<Vec<UsageRow>, StoreError> {
    let found: Vec<UsageRow> = match connection {
        Conn::Sqlite(inner) => {
            // CROSS JOIN makes SQLite look up each number instead of scanning the table.
            let query = format!(
                "SELECT {COLUMNS} FROM json_each(?) AS given \
                 CROSS JOIN credential_usage ON credential_usage.credential_number = given.value"
            );
            diesel::sql_query(query).bind::<Text, _>(serde_json::to_string(numbers)?).load(inner)?
        }
        Conn::Postgres(inner) => {
            let query = format!("SELECT {COLUMNS} FROM credential_usage WHERE credential_number = ANY ($1)");
            diesel::sql_query(query).bind::<Array<BigInt>, _>(numbers.to_vec()).load(inner)?
        }
    };
    Ok(found)
}

/// Returns the rows with a number above `after` and up to `last` that have uses of a day before
/// `today`, and locks them in the order of their numbers until the end of the change.
pub fn lock_ended_days(
    connection: &mut Conn,
    after: i64,
    last: i64,
    today: UtcDay,
) -> Result<Vec<UsageRow>, StoreError> {
    let lock = match connection {
        Conn::Sqlite(_) => "",
        // A row that changes while the statement waits for its lock is compared again.
        Conn::Postgres(_) => " FOR UPDATE",
    };
    let query = format!(
        "SELECT {COLUMNS} FROM credential_usage WHERE credential_number > $1 AND credential_number <= $2 \
         AND day < $3 AND uses > 0 ORDER BY credential_number{lock}"
    );
    let query = diesel::sql_query(query);
    let query = query.bind::<BigInt, _>(after).bind::<BigInt, _>(last).bind::<BigInt, _>(today.number());
    Ok(query.load(connection)?)
}

/// Adds uses of credentials on days to `key_usage`, each a number, a day and a count. The uses of
/// credentials that do not exist are dropped.
pub fn add_to_keys(connection: &mut Conn, uses: &[(i64, UtcDay, i64)]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    let on_conflict = "ON CONFLICT (key_id, day) DO UPDATE SET uses = key_usage.uses + excluded.uses";
    match connection {
        Conn::Sqlite(inner) => {
            let uses: Vec<_> = uses.iter().map(|(number, day, uses)| [*number, day.number(), *uses]).collect();
            let query = format!(
                "INSERT INTO key_usage (key_id, day, uses) \
                 SELECT credentials.key_id, given.value ->> 1, SUM(given.value ->> 2) FROM json_each(?) AS given \
                 CROSS JOIN credentials ON credentials.number = given.value ->> 0 WHERE TRUE GROUP BY 1, 2 {on_conflict}"
            );
            diesel::sql_query(query).bind::<Text, _>(serde_json::to_string(&uses)?).execute(inner)?;
        }
        Conn::Postgres(inner) => {
            let column = |value: fn(&(i64, UtcDay, i64)) -> i64| uses.iter().map(value).collect::<Vec<i64>>();
            // All replicas lock the rows in the same order.
            let query = format!(
                "INSERT INTO key_usage (key_id, day, uses) \
                 SELECT credentials.key_id, given.day, CAST(SUM(given.uses) AS BIGINT) \
                 FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS given (number, day, uses) \
                 JOIN credentials ON credentials.number = given.number GROUP BY 1, 2 ORDER BY 1, 2 {on_conflict}"
            );
            diesel::sql_query(query)
                .bind::<Array<BigInt>, _>(column(|(number, ..)| *number))
                .bind::<Array<BigInt>, _>(column(|(_, day, _)| day.number()))
                .bind::<Array<BigInt>, _>(column(|(.., uses)| *uses))
                .execute(inner)?;
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct UsesOfDay {
    #[diesel(sql_type = BigInt)]
    day: i64,
    #[diesel(sql_type = BigInt)]
    uses: i64,
}

/// Returns the uses of a key since the day `first`, in any order: those of days that are over, and
/// those that are still counted with its credentials. Uses of one day may be in several parts. One
/// statement reads both tables, since uses are moved from one to the other at any time.
pub fn list_uses_of_key(connection: &mut Conn, key: &KeyId, first: UtcDay) -> Result<Vec<(UtcDay, i64)>, StoreError> {
    let query = diesel::sql_query(
        "SELECT day, uses FROM key_usage WHERE key_id = $1 AND day >= $2 UNION ALL \
         SELECT credential_usage.day, credential_usage.uses FROM credentials \
         JOIN credential_usage ON credential_usage.credential_number = credentials.number \
         WHERE credentials.key_id = $1 AND credential_usage.day >= $2",
    );
    let found: Vec<UsesOfDay> =
        query.bind::<Text, _>(key.as_str()).bind::<BigInt, _>(first.number()).load(connection)?;
    Ok(found.into_iter().map(|row| (UtcDay::from_number(row.day), row.uses)).collect())
}
