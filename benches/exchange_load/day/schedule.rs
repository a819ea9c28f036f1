//! When the exchanges of a run are due.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// A billion exchanges in a day.
pub const RATE: f64 = 1e9 / 86_400.0;
/// The time that a row of the table covers.
pub const MINUTE: Duration = Duration::from_secs(60);

/// How often a wait checks whether the run was stopped.
const STOP_INTERVAL: Duration = Duration::from_secs(1);

/// Exchanges at equal intervals.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub begin: Instant,
    pub length: Duration,
}

impl Schedule {
    pub fn end(&self) -> Instant {
        self.begin + self.length
    }

    /// The number of exchanges.
    pub fn count(&self) -> u64 {
        (self.length.as_secs_f64() * RATE) as u64
    }

    /// The number of rows of the table. The last one may cover less than a minute.
    pub fn minutes(&self) -> usize {
        self.length.as_nanos().div_ceil(MINUTE.as_nanos()) as usize
    }

    /// The end of a minute, after the beginning.
    pub fn end_of_minute(&self, minute: usize) -> Duration {
        MINUTE.mul_f64((minute + 1) as f64).min(self.length)
    }

    /// Waits until a time after the beginning, or until the run is stopped.
    pub fn wait_until(&self, time: Duration, is_stopped: &AtomicBool) {
        while !is_stopped.load(Ordering::Relaxed) {
            let left = time.saturating_sub(self.begin.elapsed());
            if left.is_zero() {
                return;
            }
            sleep(left.min(STOP_INTERVAL));
        }
    }

    pub fn due(&self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / RATE)
    }

    /// The minute in which an exchange is due.
    pub fn minute_of(&self, number: u64) -> usize {
        (number as f64 / RATE / MINUTE.as_secs_f64()) as usize
    }

    /// The exchanges that are due in a minute.
    pub fn offered(&self, minute: usize) -> u64 {
        self.due_before(self.end_of_minute(minute)) - self.due_before(MINUTE.mul_f64(minute as f64))
    }

    /// The exchanges that are due up to now.
    pub fn due_until_now(&self) -> u64 {
        self.due_before(self.begin.elapsed())
    }

    fn due_before(&self, time: Duration) -> u64 {
        ((time.as_secs_f64() * RATE).ceil() as u64).min(self.count())
    }
}
