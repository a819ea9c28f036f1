//! The number of uses of each key, by day.

use std::collections::BTreeMap;

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    store::{dialect, prelude::*},
};

/// Returns the uses of a key since the day `first`. Days without uses may be omitted.
pub fn list_since(connection: &mut Conn, key: &KeyId, first: UtcDay) -> Result<BTreeMap<UtcDay, i64>, StoreError> {
    let mut by_day: BTreeMap<UtcDay, i64> = BTreeMap::new();
    for (day, uses) in dialect::usage::list_uses_of_key(connection, key, first)? {
        *by_day.entry(day).or_default() += uses;
    }
    Ok(by_day)
}
