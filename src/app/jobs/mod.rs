//! Periodic background jobs. The rules are in `service`. The jobs end with the server.

pub mod expiry_notifications;
pub mod status_lists;
pub mod webhooks;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    domain::events::{Actor, Origin},
    service::{
        Services,
        credentials::last_used,
        encryption::{master_keys, rollback_guard},
        exchange::counts,
        signing::{self, live_tokens},
    },
    store::{self, Outcome, StoreError},
};

/// Interval between updates of the rollback guard. While the server runs, a rolled back database is
/// detected within this time.
const ROLLBACK_GUARD_INTERVAL: Duration = Duration::from_secs(3);
/// Interval between deletions of expired rows.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);
/// How many rows of deleted organizations one transaction removes from a table.
const CLEANUP_BATCH_SIZE: i64 = 500;
/// Maximum interval between refreshes of the signing keys. After an outage, the snapshot must be
/// fresh again within 5 s.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The background jobs of a server.
#[derive(Debug)]
pub struct Jobs {
    services: Arc<Services>,
    running: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Jobs {
    pub fn start(services: &Arc<Services>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let look_every = (services.settings.timing.max_snapshot_age.duration() / 3).min(MAX_REFRESH_INTERVAL);
        let flush_interval = services.settings.flush_interval;
        let running = vec![
            spawn_periodic_job(look_every, services, stopped.clone(), |services| async move {
                if let Err(error) = master_keys::refresh(&services).await {
                    tracing::warn!(%error, "the master keys could not be looked at");
                }
                if let Err(error) = services.keys.refresh(&services.store, &services.master).await {
                    tracing::warn!(%error, "the signing keys could not be looked at");
                }
            }),
            // This job is separate from the refresh, because the generation of an RSA key would let
            // the snapshot become stale.
            spawn_periodic_job(look_every, services, stopped.clone(), |services| async move {
                if let Err(error) = signing::run_due_rotation(&services).await {
                    tracing::warn!(%error, "the signing keys could not be moved; the next look does what is due");
                }
            }),
            spawn_periodic_job(ROLLBACK_GUARD_INTERVAL, services, stopped.clone(), |services| async move {
                if let Err(error) = rollback_guard::keep(&services).await {
                    tracing::warn!(%error, "the database could not be compared with its witness");
                }
            }),
            spawn_periodic_job(look_every, services, stopped.clone(), |services| async move {
                if let Err(error) = status_lists::look(&services).await {
                    tracing::warn!(%error, "the status lists could not be looked at");
                }
            }),
            spawn_periodic_job(
                services.settings.timing.max_snapshot_age.duration() / 3,
                services,
                stopped.clone(),
                |services| async move {
                    if let Err(error) = status_lists::keep(&services).await {
                        tracing::warn!(%error, "the status lists could not be kept up to date");
                    }
                },
            ),
            spawn_periodic_job(flush_interval, services, stopped.clone(), |services| async move {
                if let Err(error) = last_used::flush(&services).await {
                    tracing::warn!(%error, "last-used times could not be written; they wait for the next time");
                }
            }),
            spawn_triggered_job(wait_for_buffered_uses, services, stopped.clone(), |services| async move {
                if let Err(error) = last_used::flush_excess_usage(&services).await {
                    tracing::warn!(%error, "many last-used times wait and could not be written; they wait for the next time");
                }
            }),
            spawn_periodic_job(flush_interval, services, stopped.clone(), |services| async move {
                if let Err(error) = live_tokens::flush(&services).await {
                    tracing::warn!(%error, "counts of live tokens could not be written; they wait for the next time");
                }
            }),
            spawn_periodic_job(flush_interval, services, stopped.clone(), |services| async move {
                if let Err(error) = counts::flush(&services).await {
                    tracing::warn!(%error, "what became of exchanges could not be written; it waits for the next time");
                }
            }),
            spawn_periodic_job(expiry_notifications::LOOK_EVERY, services, stopped.clone(), |services| async move {
                if let Err(error) = expiry_notifications::tell(&services).await {
                    tracing::warn!(%error, "keys that ended could not be told of; they wait for the next time");
                }
            }),
            spawn_periodic_job(CLEANUP_INTERVAL, services, stopped.clone(), |services| async move {
                if let Err(error) = delete_expired_rows(&services).await {
                    tracing::warn!(%error, "old rows could not be thrown away");
                }
            }),
            webhooks::start(services, stopped),
        ];
        Self { services: services.clone(), running, stop }
    }

    /// Stops the jobs and writes buffered data, so that a clean stop loses nothing.
    pub async fn stop(self) {
        // The jobs are signalled and not aborted, because an aborted flush would lose the data that
        // it holds.
        let _ = self.stop.send(true);
        for job in self.running {
            if let Err(error) = job.await {
                tracing::error!(%error, "a background job panicked and did not run until the stop");
            }
        }
        if let Err(error) = last_used::flush(&self.services).await {
            tracing::error!(%error, "the last of the last-used times could not be written");
        }
        if let Err(error) = live_tokens::flush(&self.services).await {
            tracing::warn!(%error, "the last counts of live tokens could not be written");
        }
        if let Err(error) = counts::flush(&self.services).await {
            tracing::warn!(%error, "what became of the last exchanges could not be written");
        }
        if let Err(error) = rollback_guard::keep(&self.services).await {
            tracing::warn!(%error, "it could not be written down how far the database has come");
        }
    }
}

async fn wait_for_buffered_uses(services: Arc<Services>) {
    services.last_used.early_flush().await;
}

fn spawn_periodic_job<F>(
    period: Duration,
    services: &Arc<Services>,
    mut stopped: watch::Receiver<bool>,
    job: impl Fn(Arc<Services>) -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    let services = services.clone();
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // `changed` fails when the sender is dropped. That also means stop.
                _ = stopped.changed() => break,
                _ = ticks.tick() => job(services.clone()).await,
            }
        }
    })
}

/// Runs `job` each time `due` completes.
fn spawn_triggered_job<D, F>(
    due: impl Fn(Arc<Services>) -> D + Send + 'static,
    services: &Arc<Services>,
    mut stopped: watch::Receiver<bool>,
    job: impl Fn(Arc<Services>) -> F + Send + 'static,
) -> JoinHandle<()>
where
    D: Future<Output = ()> + Send,
    F: Future<Output = ()> + Send,
{
    let services = services.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = stopped.changed() => break,
                () = due(services.clone()) => job(services.clone()).await,
            }
        }
    })
}

/// Deletes expired rows.
pub async fn delete_expired_rows(services: &crate::service::Services) -> Result<(), StoreError> {
    let timing = services.settings.timing;
    // `late` is the longest time after its expiry at which a verifier may accept a token. `dead`
    // adds the staleness of the replicas.
    let late = timing.verifier_leeway + timing.clock_skew;
    let dead = late + timing.max_snapshot_age;
    services
        .store
        .run_transaction(Origin::of(Actor::System), move |tx| {
            let end = tx.now().minus(dead).seconds();
            store::status_lists::delete_expired_lists(tx, end)?;
            store::common::idempotency::delete_expired(tx)?;
            store::webhooks::deliveries::delete_expired(tx)?;
            store::webhooks::delete_expired_secrets(tx)?;
            store::common::retention::delete_expired(tx)?;
            store::signing::live_tokens::delete_expired(tx)?;
            store::exchange_counts::delete_expired(tx)?;
            store::credentials::revoked_tokens::delete_expired(tx, late)?;
            Ok::<_, StoreError>(Outcome::without_event(()))
        })
        .await?;
    // The batches are small, so that the rows of a large deleted organization do not block other
    // writers.
    loop {
        let left = services.store.run_transaction(Origin::of(Actor::System), |tx| {
            let records = store::access::access_records::delete_orphaned(tx, CLEANUP_BATCH_SIZE)?;
            Ok::<_, StoreError>(Outcome::without_event(
                records + store::directory::members::delete_orphaned(tx, CLEANUP_BATCH_SIZE)?,
            ))
        });
        if left.await? == 0 {
            return Ok(());
        }
    }
}
