//! What an operator looks at first: how much is exchanged, what is refused and why, and how many keys there are.

use std::collections::BTreeMap;

use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        time::{Span, Timestamp},
        usage::Hour,
    },
    store::{self, StoreError, census::Keys},
};

use super::{App, Error};

/// Keys that end within this are about to.
const SOON: Span = Span::from_secs(14 * 24 * 3600);
/// Counting millions of keys takes a while: nobody makes the database do it more often than this.
const COUNTED_EVERY: Duration = Duration::from_secs(30);

/// How many keys there were when they were last counted here.
#[derive(Debug, Default)]
pub struct Census(Mutex<Option<(Instant, Timestamp, Keys)>>);

/// The whole of it.
#[derive(Debug)]
pub struct Overview {
    /// What became of the keys that were presented: by hour, oldest first, and by result. Hours without any are missing.
    pub exchanges: BTreeMap<Hour, BTreeMap<String, i64>>,
    pub keys: Keys,
    pub counted_at: Timestamp,
}

/// What happened in the last `hours`, the present one among them, and how many keys there are.
///
/// # Errors
/// The database does not answer.
pub async fn overview(app: &App, hours: u32) -> Result<Overview, Error> {
    let exchanges = app
        .store
        .read(move |connection| {
            let first = Hour::of(store::now(connection)?).before(i64::from(hours) - 1);
            store::exchange_counts::since(connection, first)
        })
        .await?;
    // One counts, and who comes meanwhile waits for it.
    let mut last = app.census.0.lock().await;
    let (counted_at, keys) = match *last {
        Some((at, counted_at, keys)) if at.elapsed() < COUNTED_EVERY => (counted_at, keys),
        Some(_) | None => {
            let (now, keys) = app
                .store
                .read(|connection| {
                    let now = store::now(connection)?;
                    Ok::<_, StoreError>((now, store::census::keys(connection, now, SOON)?))
                })
                .await?;
            *last = Some((Instant::now(), now, keys));
            (now, keys)
        }
    };
    Ok(Overview { exchanges, keys, counted_at })
}
