//! Daily usage counts of a key.

use crate::{
    domain::{common::id::KeyId, exchange::usage::UtcDay},
    service::{
        Error, Services,
        api_keys::{
            lookup::{NOT_FOUND, is_hidden_from},
            types::Shown,
        },
        caller::Caller,
    },
    store,
};

/// Maximum number of days in one response.
pub const MAX_USAGE_DAYS: i64 = 366;

/// Returns the number of exchanges and validations of a key on each of the last `days` UTC days,
/// today first. Counts are written in batches, so the latest uses may be missing.
pub async fn usage(services: &Services, caller: &Caller, id: KeyId, days: i64) -> Result<Vec<(UtcDay, i64)>, Error> {
    let (authority, settings) = (caller.authority.clone(), services.settings.clone());
    services
        .store
        .read(move |connection| {
            let now = store::now(connection)?;
            let found = store::api_keys::keys::find(connection, &id, now)?;
            let key = found.filter(|key| authority.rights_on(&key.ownership.home).read).ok_or(NOT_FOUND)?;
            if is_hidden_from(&authority, &Shown::new(key, now, &settings)) {
                return Err(NOT_FOUND);
            }
            let today = UtcDay::of(now);
            let uses = store::api_keys::usage::since(connection, &id, today.minus_hours(days - 1))?;
            let of = |day: UtcDay| (day, uses.get(&day).copied().unwrap_or_default());
            Ok((0..days).map(|ago| of(today.minus_hours(ago))).collect())
        })
        .await
}
