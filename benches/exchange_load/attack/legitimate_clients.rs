//! Clients with valid keys. They make calls at fixed times, whether earlier ones were answered or
//! not, and a latency is the time since the call was due. A server that stalls therefore cannot
//! prevent the calls that would show it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    client::Client,
    outcomes::{Calls, LegitimateCalls},
};

/// The calls of each kind in a second.
const PER_SECOND: u32 = 50;
/// The clients of each kind. While they all wait, the time for which further calls are overdue
/// counts as well.
const CLIENTS: usize = 16;
/// A call fails that is not answered this long after it was due.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The time for starting the threads.
const START_DELAY: Duration = Duration::from_millis(20);

pub struct LegitimateClients {
    port: u16,
    /// The requests of each kind, which are sent in turn.
    requests: [Vec<Vec<u8>>; 3],
}

/// When the calls of one kind are made.
struct Schedule {
    begin: Instant,
    count: u32,
    /// The number of the next call.
    next: AtomicU32,
}

impl LegitimateClients {
    pub const fn new(port: u16, requests: [Vec<Vec<u8>>; 3]) -> Self {
        Self { port, requests }
    }

    /// One request of each kind.
    pub fn samples(&self) -> [&[u8]; 3] {
        self.requests.each_ref().map(|requests| requests[0].as_slice())
    }

    /// Makes calls for the given duration, and waits until each one is answered or has failed.
    pub fn run(&self, length: Duration) -> LegitimateCalls {
        let begin = Instant::now() + START_DELAY;
        let count = (length.as_secs_f64() * f64::from(PER_SECOND)) as u32;
        // The kinds alternate.
        let schedules =
            [0_u32, 1, 2].map(|kind| Schedule { begin: begin + period() * kind / 3, count, next: AtomicU32::new(0) });
        let mut all = LegitimateCalls::default();
        thread::scope(|scope| {
            let mut clients = Vec::new();
            for (kind, (requests, schedule)) in self.requests.iter().zip(&schedules).enumerate() {
                for _ in 0..CLIENTS {
                    clients.push((kind, scope.spawn(move || make_calls(self.port, requests, schedule))));
                }
            }
            for (kind, client) in clients {
                all[kind].add(&client.join().expect("a client ends"));
            }
        });
        all
    }
}

/// The time between two calls of one kind.
fn period() -> Duration {
    Duration::from_secs(1) / PER_SECOND
}

/// Makes the calls of a schedule that no other client has begun.
fn make_calls(port: u16, requests: &[Vec<u8>], schedule: &Schedule) -> Calls {
    let (mut client, mut calls) = (Client::new(port), Calls::default());
    loop {
        let number = schedule.next.fetch_add(1, Ordering::Relaxed);
        if number >= schedule.count {
            return calls;
        }
        let due = schedule.begin + period() * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match client.call(&requests[number as usize % requests.len()], due + TIMEOUT) {
            Ok(200) => calls.count_served(due.elapsed().as_micros()),
            Ok(status) => calls.outcomes.count(Some(status)),
            Err(_) => calls.outcomes.count(None),
        }
    }
}
