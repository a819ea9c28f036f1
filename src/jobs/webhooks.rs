//! Sends events to webhooks. Each webhook is served by a task of its own: one that hangs holds up nobody else.

use std::{collections::HashSet, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    domain::id::WebhookId,
    service::{
        app::Shared,
        webhooks::{courier, fan_out},
    },
    store::StoreError,
};

/// How often new events and due attempts are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the age of the oldest delivery is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// How long nothing is done once something failed: most likely the database is away.
const REST: Duration = Duration::from_secs(2);
/// How many steps through the trail are made before anything is sent: who is far behind holds up nobody else.
const STEPS: usize = 20;
/// How many webhooks are served at once.
const AT_ONCE: usize = 64;
/// How many batches a webhook gets before it is someone else's turn.
const BATCHES: usize = 16;
/// How long attempts may take to end once the server is told to stop. What is cut off is sent again when its claim runs out.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn start(app: &Shared, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move {
        let mut courier = Courier::new(app);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // `changed` ends with an error when the sender is gone, which is a stop too.
                _ = stopped.changed() => break,
                Some(done) = courier.tasks.join_next() => {
                    match done {
                        Ok(webhook) => { courier.serving.remove(&webhook); }
                        // Which one it was is not known: the others go on, and are not begun twice, since each row is claimed.
                        Err(_) => courier.serving.clear(),
                    }
                }
                _ = ticks.tick() => {
                    if let Err(error) = courier.look().await {
                        tracing::warn!(%error, "webhooks could not be looked after");
                        ticks.reset_after(REST);
                    }
                }
            }
        }
        let _ = timeout(PATIENCE, async { while courier.tasks.join_next().await.is_some() {} }).await;
    })
}

/// Makes the deliveries of new events, sends what is due, and returns when each attempt has ended.
pub async fn run_once(app: &Shared) -> Result<(), StoreError> {
    let mut courier = Courier::new(app.clone());
    courier.look().await?;
    while courier.tasks.join_next().await.is_some() {}
    Ok(())
}

struct Courier {
    app: Shared,
    serving: HashSet<WebhookId>,
    tasks: JoinSet<WebhookId>,
    /// The webhook that was begun last: the next one is whoever comes after it.
    last: Option<WebhookId>,
    measured: Option<Instant>,
}

impl Courier {
    fn new(app: Shared) -> Self {
        Self { app, serving: HashSet::new(), tasks: JoinSet::new(), last: None, measured: None }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if !fan_out(&self.app).await? {
                break;
            }
        }
        let mut due = courier::due(&self.app).await?;
        due.sort();
        if let Some(last) = &self.last {
            let next = due.partition_point(|id| id <= last);
            due.rotate_left(next);
        }
        for webhook in due {
            if self.serving.len() >= AT_ONCE {
                break;
            }
            if self.serving.insert(webhook.clone()) {
                self.last = Some(webhook.clone());
                self.tasks.spawn(serve(self.app.clone(), webhook));
            }
        }
        if self.measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            self.measured = Some(Instant::now());
            self.app.metrics.webhooks_wait(courier::longest_wait(&self.app).await?.duration());
        }
        Ok(())
    }
}

async fn serve(app: Shared, webhook: WebhookId) -> WebhookId {
    for _ in 0..BATCHES {
        match courier::serve(&app, &webhook).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(%error, %webhook, "a webhook could not be served; its claims run out");
                break;
            }
        }
    }
    webhook
}
