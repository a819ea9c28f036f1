//! Delivers events to webhooks. Each webhook is served by its own task, so that an unresponsive
//! receiver does not delay the others.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    domain::common::id::WebhookId,
    service::{
        Error, Services,
        common::job_monitor::RunningJob,
        webhooks::{delivery_worker, fan_out},
    },
};

/// Polling interval for new events and due attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Interval between measurements of the age of the oldest delivery.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after an error, whose most likely cause is an unavailable database.
const ERROR_PAUSE: Duration = Duration::from_secs(2);
/// Maximum number of transactions that create deliveries before any are sent, so that webhooks far
/// behind do not delay the others.
const MAX_FAN_OUT_STEPS: usize = 20;
/// Maximum number of webhooks served concurrently.
const MAX_CONCURRENT_WEBHOOKS: usize = 64;
/// Maximum number of batches for one webhook before another webhook is served.
const MAX_BATCHES: usize = 16;
/// How long running attempts may take after the server receives a stop signal. An aborted delivery
/// is sent again when its lease expires.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Delivers events until the jobs are stopped.
pub async fn run(services: Arc<Services>, job: RunningJob, mut stopped: watch::Receiver<bool>) {
    let mut delivery_worker = DeliveryWorker::new(services.clone());
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // `changed` fails when the sender is dropped. That also means stop.
            _ = stopped.changed() => break,
            Some(done) = delivery_worker.tasks.join_next() => {
                match done {
                    Ok(webhook) => { delivery_worker.serving.remove(&webhook); }
                    // The failed task does not identify its webhook, so all entries are
                    // removed. Running tasks continue. A second task for the same webhook sends
                    // nothing twice, because each delivery is leased.
                    Err(error) => {
                        services.metrics.process.record_job_panic(job.name());
                        tracing::error!(%error, "a delivery to a webhook panicked; will retry after its lease expires");
                        delivery_worker.serving.clear();
                    }
                }
            }
            _ = ticks.tick() => match job.run(&services.metrics, delivery_worker.poll()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "failed to look up due webhook deliveries; will retry");
                    ticks.reset_after(ERROR_PAUSE);
                }
                None => {
                    // The poll may have entered a webhook without starting its task.
                    delivery_worker.serving.clear();
                    ticks.reset_after(ERROR_PAUSE);
                }
            },
        }
    }
    let _ = timeout(STOP_TIMEOUT, async { while delivery_worker.tasks.join_next().await.is_some() {} }).await;
}

/// Creates the deliveries of new events, sends due deliveries, and returns when each attempt has
/// ended.
pub async fn deliver_once(services: &Arc<Services>) -> Result<(), Error> {
    let mut delivery_worker = DeliveryWorker::new(services.clone());
    delivery_worker.poll().await?;
    while delivery_worker.tasks.join_next().await.is_some() {}
    Ok(())
}

struct DeliveryWorker {
    services: Arc<Services>,
    serving: HashSet<WebhookId>,
    tasks: JoinSet<WebhookId>,
    /// The webhook whose task was started last. The next poll starts with its successor.
    last: Option<WebhookId>,
    measured: Option<Instant>,
}

impl DeliveryWorker {
    fn new(services: Arc<Services>) -> Self {
        Self { services, serving: HashSet::new(), tasks: JoinSet::new(), last: None, measured: None }
    }

    async fn poll(&mut self) -> Result<(), Error> {
        for _ in 0..MAX_FAN_OUT_STEPS {
            if !fan_out(&self.services).await? {
                break;
            }
        }
        let mut due = delivery_worker::list_due_webhooks(&self.services).await?;
        due.sort();
        if let Some(last) = &self.last {
            let next = due.partition_point(|id| id <= last);
            due.rotate_left(next);
        }
        for webhook in due {
            if self.serving.len() >= MAX_CONCURRENT_WEBHOOKS {
                break;
            }
            if self.serving.insert(webhook.clone()) {
                self.last = Some(webhook.clone());
                self.tasks.spawn(serve_webhook(self.services.clone(), webhook));
            }
        }
        if self.measured.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
            self.measured = Some(Instant::now());
            self.services
                .metrics
                .set_longest_webhook_wait(delivery_worker::get_oldest_delivery_age(&self.services).await?.duration());
        }
        Ok(())
    }
}

async fn serve_webhook(services: Arc<Services>, webhook: WebhookId) -> WebhookId {
    for _ in 0..MAX_BATCHES {
        match delivery_worker::deliver_batch(&services, &webhook).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(%error, %webhook, "failed to deliver to a webhook; will retry after its leases expire");
                break;
            }
        }
    }
    webhook
}
