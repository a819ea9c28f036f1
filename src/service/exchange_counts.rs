//! What became of the keys that were presented, by the hour: what the metrics count anyway, written in batches, so that a page can show more
//! than what one server has seen since its start.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use crate::{
    domain::event::{Actor, Origin},
    store::{self, Outcome, StoreError},
};

use super::App;

/// What of the metrics is written already.
#[derive(Debug, Default)]
pub struct Counted(Mutex<BTreeMap<&'static str, u64>>);

/// Writes what was counted since the last time, into the hour in which it is written. What cannot be written is still counted the next time; what
/// was written, and whose answer was lost, twice.
///
/// # Errors
/// The database does not answer.
pub async fn flush(app: &App) -> Result<(), StoreError> {
    // Held until it is written: nobody else counts the same.
    let mut written = app.counted.0.lock().await;
    let uses = app.metrics.uses();
    let new = |(result, count): (&&'static str, &u64)| {
        let more = count - written.get(result).copied().unwrap_or_default().min(*count);
        (more > 0).then(|| (*result, i64::try_from(more).unwrap_or(i64::MAX)))
    };
    let new: BTreeMap<_, _> = uses.iter().filter_map(new).collect();
    if new.is_empty() {
        return Ok(());
    }
    let change = app.store.change(Origin::of(Actor::System), move |tx| {
        store::exchange_counts::add(tx, &new)?;
        Ok::<_, StoreError>(Outcome::bookkeeping(()))
    });
    change.await?;
    *written = uses;
    Ok(())
}
