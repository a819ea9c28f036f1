//! The number of exchanges in the current minute, for keys with a rate limit.

use crate::{
    domain::{common::id::KeyId, exchange::usage::minute_number},
    store::{dialect, prelude::*},
};

/// Takes one of the `limit` exchanges per minute and returns how many remain, or `None` if none
/// remained.
pub fn count_exchange(tx: &mut Tx<'_>, key: &KeyId, limit: u32) -> Result<Option<u32>, StoreError> {
    let minute = minute_number(tx.now());
    let taken = dialect::increment_rate_limit_window(tx, key, minute, limit)?;
    Ok(taken.map(|taken| limit.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))))
}
