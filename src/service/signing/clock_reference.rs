//! State of the clock monitor: the last reading of the clocks.

use crate::{
    domain::{
        common::time::{Span, Timestamp},
        signing::rotation::ClockReading,
    },
    store::Clock,
};
use std::sync::{Arc, Mutex, PoisonError};

/// The last clock reading of this process.
#[derive(Debug)]
pub struct ClockMonitor {
    pub(crate) clock: Arc<dyn Clock>,
    last: Mutex<Option<ClockReading>>,
}

impl ClockMonitor {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::new(None) }
    }

    /// The last reading; absent before the first one.
    pub fn last(&self) -> Option<ClockReading> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_last(&self, reading: ClockReading) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    /// The last reading, for a later comparison.
    pub(crate) fn reference(&self) -> ClockReference {
        ClockReference { clock: Arc::clone(&self.clock), last: self.last() }
    }
}

/// A clock reading to compare with a later one: the clock can be set between the two.
#[derive(Clone)]
pub(crate) struct ClockReference {
    clock: Arc<dyn Clock>,
    last: Option<ClockReading>,
}

impl ClockReference {
    /// Whether the database clock advanced at the rate of the process clock from that reading until
    /// `database`; `None` without a reading.
    pub fn is_steady_until(&self, database: Timestamp, tolerance: Span) -> Option<bool> {
        let now = ClockReading { database, elapsed: self.clock.monotonic_elapsed(), machine_clock: self.clock.now() };
        self.last.map(|last| now.jump_since(last, tolerance).is_none())
    }
}
