//! The last-used time of each credential, and its uses on the day of this time. The uses of earlier
//! days are counted for its key, in `key_usage`.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{
    domain::{
        common::time::Timestamp,
        exchange::usage::{CredentialUses, UtcDay},
    },
    store::{
        dialect::usage::{self, ExistingRow, UsageRow},
        prelude::*,
        schema::credential_usage,
    },
};

/// Uses of credentials, by the numbers of the credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UseBatch {
    /// The latest uses, each credential at most once, in the order of the numbers.
    pub latest: Vec<(i64, CredentialUses)>,
    /// Uses of days before those of the latest.
    pub earlier: Vec<(i64, UtcDay, i64)>,
}

impl UseBatch {
    pub const fn is_empty(&self) -> bool {
        self.latest.is_empty() && self.earlier.is_empty()
    }
}

/// Adds uses to those that are stored. A stored time is never replaced by an earlier one.
///
/// A row has the uses of one day. When a later day begins, those of the row are moved to the key;
/// uses of an earlier day are added to the key at once. This is decided after the statement that
/// writes the other rows: it has locked all of them, so nothing changes in between.
pub fn add(tx: &mut Tx<'_>, batch: &UseBatch) -> Result<(), StoreError> {
    let rows: Vec<_> = batch.latest.iter().map(|(number, uses)| row_of(*number, *uses)).collect();
    let mut of_keys = batch.earlier.clone();
    if usage::upsert_rows(tx, &rows, ExistingRow::Merge)? < rows.len() {
        let numbers: Vec<_> = rows.iter().map(|row| row.credential_number).collect();
        let stored = usage::find_rows(tx, &numbers)?;
        let later = separate_days(&rows, &stored, &mut of_keys);
        usage::upsert_rows(tx, &later, ExistingRow::Replace)?;
    }
    // The rows of the keys are locked last, in one statement.
    usage::add_to_keys(tx, &of_keys)
}

/// Returns those of the given rows that are of a later day than the stored ones. What is not
/// counted with a credential is added to `of_keys`: the stored uses of these rows, and the given
/// uses of an earlier day than the stored ones.
fn separate_days(given: &[UsageRow], stored: &[UsageRow], of_keys: &mut Vec<(i64, UtcDay, i64)>) -> Vec<UsageRow> {
    let stored: BTreeMap<_, _> = stored.iter().map(|row| (row.credential_number, row)).collect();
    let mut later = Vec::new();
    for row in given {
        let Some(&stored) = stored.get(&row.credential_number) else { continue };
        let earlier = match stored.day.cmp(&row.day) {
            // It was written.
            Ordering::Equal => continue,
            Ordering::Less => {
                later.push(*row);
                stored
            }
            Ordering::Greater => row,
        };
        of_keys.extend((earlier.uses > 0).then(|| uses_of(earlier)));
    }
    later
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRange {
    /// The number of the last row.
    pub last: i64,
    /// Whether there are uses of days that are over.
    pub has_ended_days: bool,
}

/// Returns the range of the next `limit` rows after the number `after`, or `None` at the end of the
/// table.
pub fn find_range(
    connection: &mut Conn,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Option<UsageRange>, StoreError> {
    let rows: Vec<(i64, UtcDay, i64)> = credential_usage::table
        .filter(credential_usage::credential_number.gt(after))
        .order(credential_usage::credential_number.asc())
        .limit(limit)
        .select((credential_usage::credential_number, credential_usage::day, credential_usage::uses))
        .load_all(connection)?;
    let today = UtcDay::of(now);
    let has_ended_days = rows.iter().any(|(_, day, uses)| *day < today && *uses > 0);
    Ok(rows.last().map(|(last, ..)| UsageRange { last: *last, has_ended_days }))
}

/// Moves the uses of days that are over to the keys, for the rows with a number above `after` and
/// up to `last`.
pub fn move_ended_days(tx: &mut Tx<'_>, after: i64, last: i64) -> Result<(), StoreError> {
    let today = UtcDay::of(tx.now());
    let ended = usage::lock_ended_days(tx, after, last, today)?;
    let moved: Vec<_> = ended.iter().map(|row| UsageRow { uses: 0, ..*row }).collect();
    usage::upsert_rows(tx, &moved, ExistingRow::Replace)?;
    usage::add_to_keys(tx, &ended.iter().map(uses_of).collect::<Vec<_>>())
}

const fn row_of(number: i64, uses: CredentialUses) -> UsageRow {
    UsageRow {
        credential_number: number,
        last_used_at: uses.last_used_at.millis(),
        day: uses.day().number(),
        uses: uses.uses,
    }
}

const fn uses_of(row: &UsageRow) -> (i64, UtcDay, i64) {
    (row.credential_number, UtcDay::from_number(row.day), row.uses)
}
