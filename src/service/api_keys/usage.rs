//! Daily usage counts of a key.

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    service::{Error, Services, api_keys::lookup::find_key, caller::Caller},
    store,
};

/// Maximum number of days in one response.
pub const MAX_USAGE_DAYS: i64 = 366;

/// Returns the number of exchanges and validations of a key on each of the last `days` UTC days,
/// today first. Counts are written in batches, so the latest uses may be missing.
pub async fn usage(services: &Services, caller: &Caller, id: KeyId, days: i64) -> Result<Vec<(UtcDay, i64)>, Error> {
    let caller = caller.clone();
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            find_key(connection, &caller, &id, false, now)?;
            let today = UtcDay::of(now);
            let uses = store::api_keys::usage::list_since(connection, &id, today.minus(days - 1))?;
            let count_on = |day: UtcDay| (day, uses.get(&day).copied().unwrap_or_default());
            Ok((0..days).map(|ago| count_on(today.minus(ago))).collect())
        })
        .await
}
