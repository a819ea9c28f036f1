//! Exchanges at fixed times, whether earlier ones were answered or not. A latency is the time since
//! the exchange was due, so a server that stalls cannot hold back the exchanges that would show it.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    latencies::Latencies,
    schedule::{RATE, Schedule},
};
use crate::{
    load::{Connection, RequestKind},
    seed::Keys,
};

/// While all connections wait for responses, the time for which further exchanges are overdue
/// counts as well.
const CONNECTIONS: u16 = 64;
/// An exchange without a response fails after this time, and its connection is replaced.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after an exchange that was not answered.
const RECONNECT: Duration = Duration::from_millis(100);
/// How long the last responses are waited for.
const GRACE: Duration = Duration::from_secs(35);

/// The exchanges of one minute.
#[derive(Debug, Clone, Default)]
pub struct Minute {
    /// Answered 200 in this minute, whenever they were due.
    pub reached: u64,
    /// Due in this minute, and answered with another status or not at all.
    pub failed: u64,
    /// Of the exchanges that were due in this minute and answered 200.
    pub latencies: Latencies,
}

/// The exchanges of a whole run.
pub struct Arrivals {
    schedule: Schedule,
    port: u16,
    keys: Arc<Keys>,
    kind: RequestKind,
    /// The number of the next exchange.
    next: AtomicU64,
    /// Has a permit for each exchange that is due and not sent yet.
    due: Semaphore,
    minutes: Mutex<Vec<Minute>>,
}

/// One connection, with one exchange at a time.
struct Sender {
    number: u16,
    open: Option<Connection>,
}

impl Arrivals {
    pub fn new(schedule: Schedule, port: u16, keys: &Arc<Keys>, kind: RequestKind) -> Self {
        Self {
            schedule,
            port,
            keys: Arc::clone(keys),
            kind,
            next: AtomicU64::new(0),
            due: Semaphore::new(0),
            minutes: Mutex::new(vec![Minute::default(); schedule.minutes()]),
        }
    }

    /// The results of each minute so far.
    pub fn minutes(&self) -> Vec<Minute> {
        self.minutes.lock().expect("no panic").clone()
    }

    /// Sends all exchanges and waits for the responses. Ends early when `is_stopped` is set.
    pub fn send(self: &Arc<Self>, is_stopped: &AtomicBool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // Dropping the set closes the connections.
            let mut running = JoinSet::new();
            for number in 0..CONNECTIONS {
                running.spawn(Sender { number, open: None }.send_due(Arc::clone(self)));
            }
            self.release_due(is_stopped).await;
            if !is_stopped.load(Ordering::Relaxed) {
                // Exchanges without a response are missing in the counts.
                let _ = timeout(GRACE, running.join_all()).await;
            }
        });
    }

    async fn release_due(&self, is_stopped: &AtomicBool) {
        let mut timer = create_timer().expect("a timer");
        let (mut released, mut expirations) = (0, [0; 8]);
        while released < self.schedule.count() && !is_stopped.load(Ordering::Relaxed) {
            timer.read_exact(&mut expirations).await.expect("the timer runs");
            let due = self.schedule.due_until_now();
            self.due.add_permits(usize::try_from(due - released).expect("a number of exchanges"));
            released = due;
        }
    }

    fn record(&self, number: u64, status: Option<u16>) {
        let Self { schedule, minutes, .. } = self;
        let (latency, now) = (schedule.due(number).elapsed(), schedule.begin.elapsed());
        let mut minutes = minutes.lock().expect("no panic");
        let due = schedule.minute_of(number).min(minutes.len() - 1);
        if status != Some(200) {
            if minutes[due].failed == 0 {
                eprintln!("an exchange was answered {status:?} after {:.1} s", now.as_secs_f64());
            }
            minutes[due].failed += 1;
            return;
        }
        minutes[due].latencies.add(latency.as_micros());
        // A response after the end is too late for the rate.
        let answered = (0..minutes.len()).skip(due).find(|minute| now < schedule.end_of_minute(*minute));
        if let Some(answered) = answered {
            minutes[answered].reached += 1;
        }
    }
}

impl Sender {
    async fn send_due(mut self, arrivals: Arc<Arrivals>) {
        loop {
            // Permits are given in the order in which they are requested, which is that of the
            // numbers, because nothing is awaited between the two.
            let number = arrivals.next.fetch_add(1, Ordering::Relaxed);
            if number >= arrivals.schedule.count() {
                return;
            }
            arrivals.due.acquire().await.expect("an open semaphore").forget();
            let status = match timeout(TIMEOUT, self.send_request(&arrivals)).await {
                Ok(Ok(status)) => Some(status),
                Ok(Err(_)) | Err(_) => None,
            };
            arrivals.record(number, status);
            if status.is_none() {
                self.open = None;
                sleep(RECONNECT).await;
            }
        }
    }

    async fn send_request(&mut self, arrivals: &Arrivals) -> io::Result<u16> {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => {
                let (keys, kind) = (Arc::clone(&arrivals.keys), arrivals.kind.clone());
                Connection::open(arrivals.port, self.number, keys, kind).await?
            }
        };
        self.open.insert(connection).send_request().await
    }
}

/// A timer of the kernel that expires once for each exchange. Timers of the runtime have a
/// resolution of a millisecond, in which twelve exchanges are due. The runtime reads the
/// expirations like bytes of a pipe.
fn create_timer() -> io::Result<pipe::Receiver> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let interval = Timespec { tv_sec: 0, tv_nsec: (1e9 / RATE) as i64 };
    let expiry = Itimerspec { it_interval: interval, it_value: interval };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &expiry)?;
    pipe::Receiver::from_owned_fd_unchecked(timer)
}
