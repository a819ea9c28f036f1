//! Clock monitor: compares the database clock with a monotonic clock of this process.

use std::time::Duration;

use crate::domain::common::time::{Span, Timestamp};

/// Readings of the clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    pub database: Timestamp,
    /// Monotonic time since a moment that is fixed while the process runs.
    pub elapsed: Duration,
    /// Wall clock of the machine on which this process runs.
    pub machine_clock: Timestamp,
}

/// How far the database clock was set since the previous reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockJump {
    Forward(Span),
    Backward(Span),
}

impl ClockReading {
    /// Returns the jump since `before` if it exceeds `tolerance`. A process that was suspended and
    /// resumed cannot be distinguished from a jump, and is treated as one.
    pub fn jump_since(self, before: Self, tolerance: Span) -> Option<ClockJump> {
        let expected = before.database.plus(Span::from(self.elapsed.saturating_sub(before.elapsed)));
        detect_jump(expected, self.database, tolerance)
    }

    /// Returns the jump for a process without a previous reading. `last` is the latest time of the
    /// database clock that any replica recorded.
    ///
    /// If `last` is recent, within `tolerance`, the database clock is trusted and the machine clock
    /// is ignored. If `last` is older, the database clock is compared with the machine clock. Which
    /// of the two is wrong cannot be determined, but a delay that only one of them has seen elapse
    /// must not count.
    pub fn jump_at_first_reading(self, last: Timestamp, tolerance: Span) -> Option<ClockJump> {
        match detect_jump(last, self.database, tolerance)? {
            ClockJump::Forward(_) => detect_jump(self.machine_clock, self.database, tolerance),
            back @ ClockJump::Backward(_) => Some(back),
        }
    }
}

fn detect_jump(expected: Timestamp, actual: Timestamp, tolerance: Span) -> Option<ClockJump> {
    let (forward, back) = (actual.elapsed_since(expected), expected.elapsed_since(actual));
    if forward > tolerance {
        Some(ClockJump::Forward(forward))
    } else if back > tolerance {
        Some(ClockJump::Backward(back))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(database: i64, elapsed: u64) -> ClockReading {
        let database = Timestamp::from_millis(database);
        ClockReading { database, elapsed: Duration::from_millis(elapsed), machine_clock: database }
    }

    #[test]
    fn jump_is_a_difference_between_the_clocks_beyond_the_tolerance() {
        let tolerance = Span::from_millis(100);
        let before = at(1_000, 50);
        for (now, expected) in [
            (at(2_000, 1_050), None),
            (at(2_100, 1_050), None),
            (at(1_900, 1_050), None),
            (at(2_101, 1_050), Some(ClockJump::Forward(Span::from_millis(101)))),
            (at(1_899, 1_050), Some(ClockJump::Backward(Span::from_millis(101)))),
            (at(0, 50), Some(ClockJump::Backward(Span::from_millis(1_000)))),
        ] {
            assert_eq!(now.jump_since(before, tolerance), expected, "{now:?}");
        }
        assert_eq!(at(5_000, 0).jump_at_first_reading(Timestamp::from_millis(1_000), tolerance), None);
        let behind = at(500, 0).jump_at_first_reading(Timestamp::from_millis(1_000), tolerance);
        assert_eq!(behind, Some(ClockJump::Backward(Span::from_millis(500))));
        let ahead = ClockReading { machine_clock: Timestamp::from_millis(4_000), ..at(5_000, 0) };
        let forward = ahead.jump_at_first_reading(Timestamp::from_millis(1_000), tolerance);
        assert_eq!(forward, Some(ClockJump::Forward(Span::from_millis(1_000))));
        for vouched in [4_900, 5_000, 5_100] {
            assert_eq!(
                ahead.jump_at_first_reading(Timestamp::from_millis(vouched), tolerance),
                None,
                "seen a moment ago"
            );
        }
        let forward = ahead.jump_at_first_reading(Timestamp::from_millis(4_899), tolerance);
        assert_eq!(forward, Some(ClockJump::Forward(Span::from_millis(1_000))));
    }
}
