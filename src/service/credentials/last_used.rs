//! Last-used times of credentials and daily use counts of keys. Exchanges record them in memory,
//! and jobs write them in batches.

use std::sync::Arc;

use crate::{
    domain::events::{Actor, Origin},
    service::{
        Services,
        credentials::use_buffer::{BATCH, EARLY_FLUSH_ROWS, PendingRows, PendingUsage},
    },
    store::{self, NoEvent, Outcome, StoreError, Tx},
};

/// Writes as many rows as are waiting. Rows that cannot be written are recorded again for the next
/// flush. Writing a last-used time twice does no harm.
pub async fn flush(services: &Services) -> Result<(), StoreError> {
    for _ in 0..services.last_used.waiting().div_ceil(BATCH) {
        write_next_batches(services).await?;
    }
    Ok(())
}

/// Writes batches until fewer than `EARLY_FLUSH_ROWS` rows wait. Small batches delay concurrent requests less
/// than a single large one.
pub async fn flush_excess_usage(services: &Services) -> Result<(), StoreError> {
    while services.last_used.waiting() >= EARLY_FLUSH_ROWS {
        write_next_batches(services).await?;
    }
    Ok(())
}

async fn write_next_batches(services: &Services) -> Result<(), StoreError> {
    write(services, |pending| &mut pending.last_used_times, store::credentials::last_used::upsert_last_used_times)
        .await?;
    write(services, |pending| &mut pending.uses, store::api_keys::usage::add).await
}

/// Writes a batch with one statement in a transaction of its own. The statement ends or is aborted
/// before the transaction is given up, so rows that are recorded again are not written twice. Two
/// tables in one transaction would have to be locked in the same order by all replicas.
async fn write<K, V>(
    services: &Services,
    table: fn(&mut PendingUsage) -> &mut PendingRows<K, V>,
    into: impl FnOnce(&mut Tx<'_>, &[(K, V)]) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Copy + Send + Sync + 'static,
{
    let taken = Arc::new(table(&mut services.last_used.lock()).take());
    let rows = Arc::clone(&taken);
    let change = services.store.run_transaction(Origin::of(Actor::System), move |tx| {
        into(tx, &rows).map(|()| Outcome::without_event((), NoEvent::Counter))
    });
    if let Err(error) = change.await {
        let mut pending = services.last_used.lock();
        taken.iter().for_each(|(key, value)| table(&mut pending).put(key.clone(), *value));
        return Err(error);
    }
    Ok(())
}
